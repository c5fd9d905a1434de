package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// A VM with a volume of a ServiceAccount has its token mounted in every container of the pod, but not in the sidecar.
func TestNoToken(t *testing.T) {
	t.Parallel()
	w := connect(t)
	const place = "/var/run/secrets/kubernetes.io/serviceaccount"
	v := vm{namespace: labelled, name: "token", account: true, nowhere: true}
	w.create(t, v)
	pod := w.pod(t, v)
	tokens := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		tokens[volume.Name] = volume.Projected != nil || volume.Secret != nil
	}
	require.True(t, tokens[mountedAt(pod.Spec.Containers[0], place)], "compute has a token, so that the rest says something")
	mounted := sidecarOf(t, pod)
	require.False(t, tokens[mountedAt(mounted, place)])
	for _, mount := range mounted.VolumeMounts {
		require.False(t, tokens[mount.Name], "%s is mounted at %s", mount.Name, mount.MountPath)
	}
}

// mountedAt is the name of the volume that the container mounts there, or "".
func mountedAt(c corev1.Container, path string) string {
	for _, mount := range c.VolumeMounts {
		if mount.MountPath == path {
			return mount.Name
		}
	}
	return ""
}
