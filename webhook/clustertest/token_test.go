package clustertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The API server mounts the ServiceAccount's token into each container of such a pod, before and after the pod is
// changed by us. The sidecar's place is taken.
func TestSidecarHasNoToken(t *testing.T) {
	ways := map[string]func(t *testing.T) string{
		"webhook": func(t *testing.T) string {
			serveStatically(t)
			return server.Namespace(t, "enabled", labelled())
		},
		"policy": func(t *testing.T) string { return applyPolicy(t).enabled },
	}
	for way, install := range ways {
		t.Run(way, func(t *testing.T) {
			namespace := install(t)
			for _, name := range append([]string{"service-account", "istio-native-token", "istio-regular-token"}, genuine...) {
				t.Run(name, func(t *testing.T) {
					pod := ofNewVM(launcher(t, namespace, name))
					require.NoError(t, unstructured.SetNestedField(pod.Object, true, "spec", "automountServiceAccountToken"))
					stored, err := server.Create(t.Context(), pod, metav1.CreateOptions{})
					require.NoError(t, err)
					requireNoToken(t, stored)
				})
			}
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
