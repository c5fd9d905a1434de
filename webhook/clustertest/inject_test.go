package clustertest

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestInjection(t *testing.T) {
	replicas, _ := serveReplicas(t, 2)
	enabled, other := server.Namespace(t, "enabled", labelled()), server.Namespace(t, "other", nil)
	t.Run("pods are created as package inject patches them", func(t *testing.T) {
		policyAndWebhook{inject.Default(injectedImage), enabled, other}.requireLaunchersSame(t)
	})
	t.Run("the webhook is not asked", func(t *testing.T) { testNotAsked(t, enabled, replicas) })
}

// Each of these pods is admitted as if the webhook were not there: it is not even asked.
func testNotAsked(t *testing.T, enabled string, replicas []*replica) {
	for _, namespace := range []string{"kube-system", productNamespace} {
		enable(t, namespace)
	}
	server.DefaultServiceAccount(t, "kube-system")

	tests := []struct {
		name string
		pod  func() *unstructured.Unstructured
	}{
		{"opted out by annotation", changed(t, enabled, func(pod *unstructured.Unstructured) {
			setAnnotation(pod, "hypervisor-exporter.kubevirt.io/inject", "false")
		})},
		{"opted out by label", changed(t, enabled, func(pod *unstructured.Unstructured) {
			setLabel(pod, "hypervisor-exporter.kubevirt.io/inject", "false")
		})},
		{"provisioning", changed(t, enabled, func(pod *unstructured.Unstructured) {
			setAnnotation(pod, "kubevirt.io/ephemeral-provisioning", "")
		})},
		{"not a launcher", changed(t, enabled, func(pod *unstructured.Unstructured) {
			setLabel(pod, "kubevirt.io", "hotplug-disk")
		})},
		{"no VMI", changed(t, enabled, func(pod *unstructured.Unstructured) { pod.SetOwnerReferences(nil) })},
		{"not a VMI's", func() *unstructured.Unstructured { return launcher(t, enabled, "owner-other-kind") }},
		{"injected already", changed(t, enabled, func(pod *unstructured.Unstructured) { addSidecar(t, pod) })},
		{"kube-system", changed(t, "kube-system", func(*unstructured.Unstructured) {})},
		{"our own namespace", func() *unstructured.Unstructured {
			pod := podOf(t, find(t, render(t, "."), "Deployment", "hypervisor-exporter-certs"))
			setLabel(pod, "kubevirt.io", "virt-launcher")
			return pod
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := admissions(t, replicas)
			_, err := server.Create(t.Context(), test.pod(), metav1.CreateOptions{})
			require.NoError(t, err)
			require.Equal(t, before, admissions(t, replicas))
		})
	}
	t.Run("unlike a pod without annotations and init containers", func(t *testing.T) {
		before := admissions(t, replicas)
		pod := changed(t, enabled, func(pod *unstructured.Unstructured) {
			pod.SetAnnotations(nil)
			unstructured.RemoveNestedField(pod.Object, "spec", "initContainers")
		})()
		_, err := server.Create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
		// Counted when it is answered, which may be a moment later.
		eventually(t, func() bool { return admissions(t, replicas) > before }, "matchConditions allow for absent fields")
	})
}

func changed(t *testing.T, namespace string, change func(*unstructured.Unstructured)) func() *unstructured.Unstructured {
	return func() *unstructured.Unstructured {
		pod := launcher(t, namespace, "masq")
		change(pod)
		return pod
	}
}

func addSidecar(t *testing.T, pod *unstructured.Unstructured) {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	require.NoError(t, err)
	containers = append(containers, map[string]any{"name": "hypervisor-exporter", "image": "before", "restartPolicy": "Always"})
	require.NoError(t, unstructured.SetNestedSlice(pod.Object, containers, "spec", "initContainers"))
}

func enable(t *testing.T, namespace string) {
	t.Helper()
	patch := `{"metadata":{"labels":{"hypervisor-exporter.kubevirt.io/inject":"enabled"}}}`
	_, err := server.Client.CoreV1().Namespaces().Patch(t.Context(), namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

var admissionsTotal = regexp.MustCompile(`(?m)^hypervisor_exporter_webhook_admissions_total\{.*\} (\d+)$`)

// admissions is how many reviews the replicas have answered, by their own metrics.
func admissions(t *testing.T, replicas []*replica) int {
	t.Helper()
	return count(t, replicas, admissionsTotal)
}

// count is the sum of the series that match, over all replicas.
func count(t *testing.T, replicas []*replica, series *regexp.Regexp) int {
	t.Helper()
	total := 0
	for _, r := range replicas {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", r.metricsPort))
		require.NoError(t, err)
		page, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		total += sum(t, page, series)
	}
	return total
}

// The API server mounts the ServiceAccount's token into each container of such a pod, before and after the pod is
// changed by us. The sidecar's place is taken. The policy makes the same pods.
func TestSidecarHasNoToken(t *testing.T) {
	serveReplicas(t, 2)
	namespace := server.Namespace(t, "enabled", labelled())
	for _, name := range append([]string{"service-account", "istio-native-token", "istio-regular-token"}, genuine...) {
		t.Run(name, func(t *testing.T) {
			pod := ofNewVM(launcher(t, namespace, name))
			require.NoError(t, unstructured.SetNestedField(pod.Object, true, "spec", "automountServiceAccountToken"))
			stored, err := server.Create(t.Context(), pod, metav1.CreateOptions{})
			require.NoError(t, err)
			requireNoToken(t, stored)
		})
	}
}

// requireNoToken checks that all containers but the sidecar have a token.
func requireNoToken(t *testing.T, stored *unstructured.Unstructured) {
	t.Helper()
	pod := decode[corev1.Pod](t, stored)
	tokens := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			tokens[volume.Name] = tokens[volume.Name] || source.ServiceAccountToken != nil
		}
	}
	found := false
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		hasToken := false
		for _, mount := range container.VolumeMounts {
			hasToken = hasToken || tokens[mount.Name]
		}
		ours := container.Name == "hypervisor-exporter"
		found = found || ours
		require.Equal(t, !ours, hasToken, "container %s", container.Name)
	}
	require.True(t, found, "not injected")
}
