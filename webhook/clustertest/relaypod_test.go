package clustertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a node lends the relay: root's files, to read, and nothing else; in every overlay that has one.
func TestRelayIsConfined(t *testing.T) {
	found := 0
	for _, folder := range installable {
		for _, object := range render(t, folder) {
			if object.GetKind() == "DaemonSet" {
				found++
				t.Run(folder, func(t *testing.T) { requireConfined(t, folder, decode[appsv1.DaemonSet](t, object)) })
			}
		}
	}
	require.Equal(t, len(installable)-1, found, "all but overlays/direct")
}

// The API server keeps the field; one of Kubernetes 1.30 without the feature gate drops it.
func TestAPIServerKeepsRecursiveReadOnly(t *testing.T) {
	install(t, ".")
	set, err := server.Client.AppsV1().DaemonSets(relayNamespace).Get(t.Context(), "hypervisor-exporter-relay", metav1.GetOptions{})
	require.NoError(t, err)
	requireConfined(t, ".", *set)
}

func requireConfined(t *testing.T, folder string, set appsv1.DaemonSet) {
	t.Helper()
	require.Equal(t, "34%", set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "a broken node does not stop the rest")
	pod := set.Spec.Template.Spec
	require.Empty(t, pod.PriorityClassName, "no VM makes room for the relay")
	require.Equal(t, folder == "overlays/host-network", pod.HostNetwork)
	require.False(t, pod.HostPID || pod.HostIPC)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.Len(t, pod.Containers, 1)
	require.Len(t, pod.InitContainers, 1, "the one that brings the sidecar's image")

	relay := pod.Containers[0]
	require.EqualValues(t, 0, *relay.SecurityContext.RunAsUser, "the kubelet's folders are root's")
	require.Equal(t, "spc_t", relay.SecurityContext.SELinuxOptions.Type)
	for _, container := range append(pod.InitContainers, relay) {
		security := container.SecurityContext
		require.Nil(t, security.Privileged, container.Name)
		require.False(t, *security.AllowPrivilegeEscalation, container.Name)
		require.True(t, *security.ReadOnlyRootFilesystem, container.Name)
		require.Equal(t, &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, security.Capabilities, container.Name)
		require.Nil(t, security.SeccompProfile, "%s: the pod's holds", container.Name)
	}
	requireOneFolder(t, pod, relay)
}

// requireOneFolder checks that of the node's files the relay alone sees one folder, and cannot write to it.
func requireOneFolder(t *testing.T, pod corev1.PodSpec, relay corev1.Container) {
	t.Helper()
	var fromNode []string
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			require.Equal(t, "/var/lib/kubelet/pods", volume.HostPath.Path)
			fromNode = append(fromNode, volume.Name)
		}
	}
	require.Len(t, fromNode, 1)
	for _, mount := range relay.VolumeMounts {
		require.True(t, mount.ReadOnly, mount.Name)
		require.Nil(t, mount.MountPropagation, mount.Name)
		if mount.Name == fromNode[0] {
			require.NotNil(t, mount.RecursiveReadOnly)
			require.Equal(t, corev1.RecursiveReadOnlyIfPossible, *mount.RecursiveReadOnly, "what is mounted below, too")
		}
	}
	require.Empty(t, pod.InitContainers[0].VolumeMounts)
}
