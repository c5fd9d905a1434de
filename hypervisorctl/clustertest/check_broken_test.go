package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// broken is a cluster that is broken in one way.
type broken struct {
	name string
	// spoil breaks it; what it changes for all namespaces it repairs in a cleanup. It returns the namespace to check; empty
	// is the one in which all is well.
	spoil func(t *testing.T) string
	// first is a regular expression of the first line of check -o short.
	first string
	user  []string
}

// Check names what is wrong in the first line that is not ok. It has exactly the rights of rbac.yaml.
func TestCheckNamesTheFaultFirst(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	runsPrometheus(t, map[string]any{})
	well := server.Namespace(t, "fine", labelled())
	testVM{namespace: well, name: "web", fixture: "masq", node: "node-1", socket: true}.create(t)
	serveWebhook(t, well)
	relayPod(t, "node-1")
	first := func(t *testing.T, namespace string, user []string) (string, answer) {
		got := callAs(t, user, "check", "-n", namespace, "-o", "short", "--source=none")
		line, _, _ := strings.Cut(got.out, "\n")
		return line, got
	}
	mayDryRun(t, well)
	unasked := answer{out: "warn  vms: the sidecar runs in 1 of 1 VMs; not checked whether they are measured: --source=none\n", code: 1}
	_, got := first(t, well, reader())
	require.Equal(t, unasked, got, "nothing else is wrong")

	for _, test := range faults(well) {
		t.Run(test.name, func(t *testing.T) {
			namespace, user := test.spoil(t), test.user
			if namespace == "" {
				namespace = well
			} else {
				mayDryRun(t, namespace)
			}
			if user == nil {
				user = reader()
			}
			var got answer
			testkit.Eventually(t, func() error { // the API server watches what was changed
				var line string
				if line, got = first(t, namespace, user); !regexp.MustCompile("^" + test.first).MatchString(line) {
					return fmt.Errorf("the first line is %q", line)
				}
				return nil
			})
			require.Equal(t, map[bool]int{true: 2, false: 1}[strings.Contains(got.out, "fail  ")], got.code)
		})
	}
	_, got = first(t, well, reader())
	require.Equal(t, unasked, got, "all is repaired")
	got = callAs(t, as("nobody", "system:authenticated"), "check", "-n", well, "--exporter-namespace="+cluster.ExporterNamespace, "--relay-namespace="+cluster.RelayNamespace)
	require.Equal(t, 1, got.code, got.out)
	for _, right := range []string{"get deployments.apps/hypervisor-exporter-webhook -n hypervisor-exporter", "get daemonsets.apps/hypervisor-exporter-relay -n hypervisor-exporter-relay"} {
		require.Contains(t, got.out, "kubectl auth can-i "+right, "named namespaces need not be found")
	}
	webhookDown(t)
	got = callAs(t, reader(), "check", "-n", well, "-o", "short", "--source=none", "--wait=1ns")
	require.Equal(t, 2, got.code, "the time is over, and the result is the last one's")
	require.Contains(t, got.err, "note: waiting: fail: webhook: 0 of 2 replicas of the webhook are ready")
	require.Regexp(t, "^fail  webhook: 0 of 2 replicas", got.out)
}

func faults(well string) []broken {
	return []broken{
		{"wrong label on the namespace", func(t *testing.T) string {
			return server.Namespace(t, "wronglabel", map[string]string{inject.AnnotationInject: "true"})
		}, `fail  injection: these namespaces ask for sidecars in a way that has no effect: .* \(wronglabel-\S+ \(value true\)\)$`, nil},
		{"label without a value", func(t *testing.T) string {
			return server.Namespace(t, "novalue", map[string]string{inject.AnnotationInject: ""})
		}, `fail  injection: these namespaces ask for sidecars in a way that has no effect: .* \(novalue-\S+ \(value ""\)\)$`, nil},
		{"wrong kubelet root", wrongRoot, `fail  relay: the relay of these nodes finds no VM, because its own pod is not in --kubelet-pods-dir=/var/lib/kubelet/pods \(node-6\)$`, nil},
		{"expired CA", expiredCA, `fail  webhook: caBundle of inject.hypervisor-exporter.kubevirt.io: expired on \d{4}-`, nil},
		{"expired CA of the relay", func(t *testing.T) string {
			ca, err := pki.NewCA(cluster.RelayServerName, time.Now().Add(-48*time.Hour), 24*time.Hour)
			require.NoError(t, err)
			good, err := pki.NewCA(cluster.RelayServerName, time.Now(), 90*24*time.Hour)
			require.NoError(t, err)
			t.Cleanup(func() { trusted(t, good.CertPEM) })
			trusted(t, ca.CertPEM)
			return ""
		}, `fail  relay: CA of the relay's certificate: expired on \d{4}-`, nil},
		{"no ConfigMap for the CA of the relay", func(t *testing.T) string {
			maps := server.Client.CoreV1().ConfigMaps(cluster.RelayNamespace)
			ca, err := maps.Get(t.Context(), cluster.RelayCA, metav1.GetOptions{})
			require.NoError(t, err)
			require.NoError(t, maps.Delete(t.Context(), ca.Name, metav1.DeleteOptions{}))
			t.Cleanup(func() {
				ca.ResourceVersion = ""
				_, err := maps.Create(context.WithoutCancel(t.Context()), ca, metav1.CreateOptions{})
				require.NoError(t, err)
			})
			return ""
		}, `fail  relay: ConfigMap hypervisor-exporter-relay-ca does not exist: Prometheus cannot trust the relay$`, nil},
		{"image that cannot be pulled", func(t *testing.T) string {
			namespace := server.Namespace(t, "unpulled", labelled())
			testVM{namespace: namespace, name: "new", fixture: "masq", phase: "Scheduled", waiting: "ErrImagePull"}.create(t)
			return namespace
		}, `fail  images: 1 VM waits for the sidecar's image, and cannot start \(unpulled-\S+/new\)$`, nil},
		{"image that a policy refuses", refusedImage,
			`warn  injection: a virt-launcher pod in the namespace banned-\S+ is refused because of the sidecar, so VMs start without it \(dry run\): .*only images of mirror.example are allowed\\u001b\[2J`, nil},
		{"LimitRange", func(t *testing.T) string {
			namespace := server.Namespace(t, "small", labelled())
			refuseSmall(t, namespace)
			return namespace
		}, `warn  injection: LimitRanges refuse VMs with the sidecar, so VMs start without it: min of memory per Container is 32Mi`, nil},
		{"opted out", func(t *testing.T) string {
			return server.Namespace(t, "optedout", map[string]string{inject.AnnotationInject: "disabled"})
		}, `warn  injection: the namespace optedout-\S+ is not labelled for sidecars`, nil},
		{"webhook down", webhookDown, `fail  webhook: 0 of 2 replicas of the webhook are ready: VMs start without a sidecar: ` +
			`hypervisor-exporter-webhook-2: CrashLoopBackOff: error: unknown flag: --nonsense$`, nil},
		{"no RBAC", func(*testing.T) string { return "" }, `warn  rights: you may not do what \d+ checks need: \d+ rights are missing \(kubectl auth can-i `,
			as("nobody", "system:authenticated")},
		{"registration changed", func(t *testing.T) string {
			patchRegistration(t, `[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":10}]`)
			t.Cleanup(func() {
				patchRegistration(t, `[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":2}]`)
			})
			return ""
		}, `warn  webhook: webhook inject.hypervisor-exporter.kubevirt.io differs from what is shipped: timeoutSeconds \(10, not 2\)$`, nil},
		{"arguments that the webhook refuses", func(t *testing.T) string {
			argue(t, "--sidecar-memory=0")
			for _, args := range [][]string{{"list"}, {"explain", "web"}} {
				got := callAs(t, reader(), append(args, "-n", well, "--source=none")...)
				require.Zero(t, got.code, got.err)
				require.Contains(t, got.err, "note: the webhook refuses the arguments of Deployment hypervisor-exporter-webhook: memory")
			}
			return ""
		}, `fail  installation: the webhook refuses the arguments of Deployment hypervisor-exporter-webhook: memory`, nil},
		{"a second installation", func(t *testing.T) string {
			second := server.Namespace(t, "second", nil)
			productPod(t, second, "default", "webhook", "node-1")
			t.Cleanup(func() {
				now := int64(0)
				require.NoError(t, server.Client.CoreV1().Pods(second).DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}))
			})
			return ""
		}, `warn  installation: pods with the labels of this product run outside of the installation: .* \(second-`, nil},
	}
}

// wrongRoot gives a node a relay whose folder is wrong, and a VM that needs it.
func wrongRoot(t *testing.T) string {
	serveKubelet(t, "node-6", &kubelet{log: `{"msg":"not ready","err":"--kubelet-pods-dir=/var/lib/kubelet/pods is not where this node's kubelet keeps its pods"}` + "\n"})
	namespace := server.Namespace(t, "wrongroot", labelled())
	testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-6", socket: true}.create(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "relay-6", Labels: map[string]string{"app.kubernetes.io/name": "kubevirt-hypervisor-exporter", "app.kubernetes.io/component": "relay"}},
		Spec:       corev1.PodSpec{NodeName: "node-6", ServiceAccountName: cluster.Relay, AutomountServiceAccountToken: new(bool), Containers: []corev1.Container{restricted("relay", nil)}},
	}
	awayWith(t, cluster.RelayNamespace, pod.Name)
	_, err := server.Client.CoreV1().Pods(cluster.RelayNamespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	return namespace
}

// awayWith deletes a pod at the end.
func awayWith(t *testing.T, namespace, name string) {
	now := int64(0)
	t.Cleanup(func() {
		require.NoError(t, server.Client.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	})
}

func expiredCA(t *testing.T) string {
	configuration, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), cluster.Configuration, metav1.GetOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { bundle(t, configuration.Webhooks[0].ClientConfig.CABundle) })
	ca, err := pki.NewCA(serviceDNS, time.Now().Add(-48*time.Hour), 24*time.Hour)
	require.NoError(t, err)
	bundle(t, ca.CertPEM)
	return ""
}

// bundle publishes the CA in the webhook's registration, also in a cleanup.
func bundle(t *testing.T, ca []byte) {
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca}})
	require.NoError(t, err)
	patchRegistration(t, string(patch))
}

func patchRegistration(t *testing.T, patch string) {
	_, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(context.Background(), cluster.Configuration, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

// refusedImage is an allow-list of KubeVirt's registry, with a text that a terminal would act on. One that has ours, too, refuses
// nothing.
func refusedImage(t *testing.T) string {
	namespace, allowed := server.Namespace(t, "banned", labelled()), server.Namespace(t, "allowed", labelled())
	for _, object := range readObjects(t, "testdata/banned.yaml") {
		t.Cleanup(func() { require.NoError(t, server.Delete(context.Background(), object)) })
		require.NoError(t, server.Apply(t.Context(), object))
	}
	mayDryRun(t, allowed)
	testkit.Eventually(t, func() error { // the API server watches policies
		pod, err := cluster.Launcher(allowed)
		require.NoError(t, err)
		if _, err = server.Client.CoreV1().Pods(allowed).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
			return errors.New("images of elsewhere are allowed")
		}
		return nil
	})
	require.NotContains(t, callAs(t, reader(), "check", "-n", allowed, "--source=none").out, "is refused")
	return namespace
}

// webhookDown: no replica is ready, and a new one does not start because of a flag.
func webhookDown(t *testing.T) string {
	patchStatus(t, `{"status":{"readyReplicas":0}}`)
	productPod(t, cluster.ExporterNamespace, cluster.Webhook, "webhook", "node-2")
	awayWith(t, cluster.ExporterNamespace, cluster.Webhook+"-2")
	status := `{"status":{"conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"webhook","image":"i","imageID":"","ready":false,"restartCount":3,
		"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 40s"}},
		"lastState":{"terminated":{"exitCode":2,"message":"error: unknown flag: --nonsense\n"}}}]}}`
	_, err := server.Client.CoreV1().Pods(cluster.ExporterNamespace).Patch(t.Context(), cluster.Webhook+"-2", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := server.Client.AppsV1().Deployments(cluster.ExporterNamespace).
			Patch(context.Background(), cluster.Webhook, types.MergePatchType, []byte(`{"status":{"readyReplicas":2}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	})
	return ""
}

// argue adds an argument to the webhook's.
func argue(t *testing.T, argument string) {
	patch := func(text string) {
		_, err := server.Client.AppsV1().Deployments(cluster.ExporterNamespace).
			Patch(context.Background(), cluster.Webhook, types.JSONPatchType, []byte(text), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	t.Cleanup(func() { patch(`[{"op":"remove","path":"/spec/template/spec/containers/0/args/1"}]`) })
	patch(`[{"op":"add","path":"/spec/template/spec/containers/0/args/1","value":"` + argument + `"}]`)
}
