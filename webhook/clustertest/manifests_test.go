package clustertest

import (
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// installable are the folders that a user may apply.
var installable = []string{
	".",
	"overlays/admission-policy",
	"overlays/cert-manager",
	"overlays/direct",
	"overlays/host-network",
	"overlays/openshift",
	"overlays/relay-without-authorization",
	"overlays/without-prometheus-operator",
}

func TestEveryOverlayIsTested(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(manifests, "overlays", "*"))
	require.NoError(t, err)
	want := []string{"."}
	for _, overlay := range overlays {
		want = append(want, "overlays/"+filepath.Base(overlay))
	}
	require.Equal(t, want, installable)
}

// Strict: an unknown or repeated field is an error, as with `kubectl apply --validate=strict`. Pod Security only warns
// about a workload that its namespace refuses, so the pods are created for real.
func TestEveryManifestIsAppliedStrictly(t *testing.T) {
	server.Define(t, apiservertest.CertManager, apiservertest.PodMonitors, apiservertest.PrometheusRules)
	for _, folder := range append(largest(), installable...) {
		t.Run(folder, func(t *testing.T) {
			objects := render(t, folder)
			for _, object := range objects {
				require.NoError(t, server.Apply(t.Context(), object))
			}
			t.Cleanup(func() { uninstall(t) })
			makeDefaultServiceAccount(t)
			for _, object := range workloads(objects) {
				pod := podOf(t, object)
				if has(folder, "openshift") && object.GetKind() == "Deployment" {
					giveOpenShiftUser(t, pod)
				}
				var stored *unstructured.Unstructured
				testkit.Eventually(t, func() (err error) { // a new PriorityClass takes a moment
					stored, err = server.Create(t.Context(), pod.DeepCopy(), dryRun())
					return err
				})
				priority := *decode[corev1.Pod](t, stored).Spec.Priority
				if object.GetKind() == "Deployment" {
					require.Positive(t, priority, "evicted last")
				} else {
					require.Zero(t, priority, "no VM makes room for the relay")
				}
			}
		})
	}
}

// eachPod calls check with each pod that a folder's workloads make, as its Go type.
func eachPod(t *testing.T, check func(t *testing.T, folder string, workload *unstructured.Unstructured, pod corev1.Pod)) {
	t.Helper()
	for _, folder := range renderings() {
		for _, object := range workloads(render(t, folder)) {
			t.Run(folder+"/"+object.GetName(), func(t *testing.T) {
				check(t, folder, object, decode[corev1.Pod](t, podOf(t, object)))
			})
		}
	}
}

// Of every pod in every overlay: who has a token, that no one reads the key of a CA, how it is probed, that it is in no
// mesh, that its images cannot be pulled until a user sets them, and that its programs accept their arguments.
func TestEveryPod(t *testing.T) {
	eachPod(t, func(t *testing.T, folder string, object *unstructured.Unstructured, pod corev1.Pod) {
		token := object.GetName() == certsName || object.GetName() == relayName && !has(folder, "no-authorization")
		require.NotNil(t, pod.Spec.AutomountServiceAccountToken, "the default is to mount it")
		require.Equal(t, token, *pod.Spec.AutomountServiceAccountToken)
		for _, volume := range pod.Spec.Volumes {
			if volume.Secret != nil {
				require.NotContains(t, []string{serviceName + "-ca", relayName + "-ca"}, volume.Secret.SecretName)
			}
		}
		// A program answers on /healthz from the start: the webhook over HTTP, the relay with a provisional certificate
		// (certificate.TestProvisional). So liveness needs no startup probe to wait for, and readiness waits for the
		// certificate.
		require.Empty(t, pod.Spec.InitContainers)
		container := pod.Spec.Containers[0]
		require.Nil(t, container.StartupProbe)
		require.Equal(t, "/healthz", container.LivenessProbe.HTTPGet.Path)
		require.Equal(t, "/readyz", container.ReadinessProbe.HTTPGet.Path)
		// No mesh puts a proxy in front of our ports: Istio reads the label sidecar.istio.io/inject (pkg/kube/inject
		// injectRequired) and, in ambient mode, istio.io/dataplane-mode (cni/pkg/util PodRedirectionEnabled); Linkerd
		// reads an annotation.
		require.Equal(t, "false", pod.Labels["sidecar.istio.io/inject"])
		require.Equal(t, "none", pod.Labels["istio.io/dataplane-mode"])
		require.Equal(t, "disabled", pod.Annotations["linkerd.io/inject"])
		for _, container := range pod.Spec.Containers {
			// No one can own what the manifests name before a user sets images, so no one can put an image of theirs beside the
			// VMs. None of our pods starts, so no webhook injects such a name.
			require.Equal(t, unsetImage+":v0.1.0", container.Image)
			require.Len(t, container.Command, 1)
			requireAccepted(t, path.Base(container.Command[0]), container)
		}
	})
	for _, golden := range []string{"masq", "direct/masq"} {
		pod := decode[corev1.Pod](t, readLauncher(t, filepath.Join(launcherPods, golden+".golden.yaml")))
		requireAccepted(t, "sidecar", pod.Spec.InitContainers[0])
	}
}

// accepted are the command lines that requireAccepted has checked: most renderings have the same.
var accepted sync.Map

// requireAccepted checks that the program knows the command and each flag of its container: the help that is shown is
// the command's, and a wrong flag before --help exits with 64.
func requireAccepted(t *testing.T, name string, container corev1.Container) {
	t.Helper()
	if _, done := accepted.LoadOrStore(name+strings.Join(container.Args, " "), true); done {
		return
	}
	output, err := exec.Command(program(t, name), append(container.Args, "--help")...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, container.Args, output)
	usage := "(?m)^  [a-z-]+ \\[flags\\]$"
	if !strings.HasPrefix(container.Args[0], "-") {
		usage = "(?m)^  [a-z-]+ " + container.Args[0] + " \\[flags\\]$"
	}
	require.Regexp(t, usage, string(output), "%s %q", name, container.Args)
}

// limitedClasses is an admission configuration as GKE's: outside of a namespace with a quota for them, no one may use the
// classes that preempt everything.
const limitedClasses = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: pods
      matchScopes:
      - scopeName: PriorityClass
        operator: In
        values: [system-cluster-critical, system-node-critical]
`

// Where the API server limits the critical classes, our pods are created all the same, and a relay that was given one,
// too; without the quotas they would not be.
func TestCriticalClassesWhereTheyAreLimited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admission.yaml")
	writeFile(t, file, limitedClasses)
	limited, err := apiservertest.Start(t.Context(), t.TempDir(), "--admission-control-config-file="+file)
	require.NoError(t, err)
	t.Cleanup(limited.Stop)
	server := limited // not the one that all tests share

	objects := render(t, ".")
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Namespace" || kind == "ServiceAccount" {
			require.NoError(t, server.Apply(t.Context(), object))
		}
	}
	pods := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		if isWorkload(object) {
			pod := podOf(t, object)
			require.NoError(t, unstructured.SetNestedField(pod.Object, "system-node-critical", "spec", "priorityClassName"))
			pods[object.GetName()+", system-node-critical"] = pod
			if object.GetKind() == "Deployment" {
				pods[object.GetName()] = podOf(t, object)
			}
		}
	}
	require.Len(t, pods, 5)
	for name, pod := range pods {
		_, err := server.Create(t.Context(), pod.DeepCopy(), dryRun())
		require.ErrorContains(t, err, "insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical system-node-critical]}]", name)
	}
	quotas := 0
	for _, object := range objects {
		if object.GetKind() == "ResourceQuota" {
			require.NoError(t, server.Apply(t.Context(), object))
			quotas++
		}
	}
	require.Equal(t, 2, quotas)
	for name, pod := range pods {
		eventually(t, func() bool { // the plugin lists quotas from its cache
			_, err = server.Create(t.Context(), pod.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil
		}, name)
	}
}
