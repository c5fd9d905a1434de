package checks

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// A sidecar that cannot write to its volume, where it has one, leaves the VM alone. The volume is the node's disk,
// which is not ours to fill: a file system with no room left is laid over it, which the sidecar sees from its next start.
func TestVolumeFull(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "full"}
	w.start(t, v)
	pod := w.pod(t, v)
	compute := w.computeID(t, v)
	if !hasVolume(pod, sidecar) {
		t.Log("the sidecar has no volume of its own, and its root is read-only: there is nothing to fill")
		require.True(t, *sidecarOf(t, pod).SecurityContext.ReadOnlyRootFilesystem)
		return
	}
	path := "/var/lib/kubelet/pods/" + string(pod.UID) + "/volumes/kubernetes.io~empty-dir/" + sidecar
	_, err := w.node.Run(t.Context(), "mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2,mode=777", "full", path)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = w.node.Run(context.Background(), "umount", "-l", path) }) // gone with the pod, if that went first
	_, err = w.node.Run(t.Context(), "dd", "if=/dev/zero", "of="+path+"/ballast", "bs=4k", "count=1")
	require.NoError(t, err)
	pids, err := w.processes(t.Context(), pod, sidecar)
	require.NoError(t, err)
	_, err = w.node.Run(t.Context(), "kill", "-9", pids[0])
	require.NoError(t, err)
	eventually(t, patience, "the sidecar to run on the full volume, and the pod to be ready", func(ctx context.Context) error {
		pod, err := w.findPod(ctx, v)
		if err == nil && (sidecarStatus(pod).RestartCount == 0 || !isReady(pod)) {
			err = errors.New("not yet")
		}
		return err
	})
	w.awaitTarget(t, v, "down") // there is no room for its socket
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	_, err = w.node.Run(t.Context(), "umount", path)
	if err != nil { // the sidecar's file system keeps it busy
		_, err = w.node.Run(t.Context(), "umount", "-l", path)
	}
	require.NoError(t, err)
	w.remove(t, v)
}

func hasVolume(pod *corev1.Pod, name string) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == name {
			return true
		}
	}
	return false
}

func sidecarOf(t *testing.T, pod *corev1.Pod) corev1.Container {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		if c.Name == sidecar {
			return c
		}
	}
	require.Fail(t, "no sidecar", pod.Name)
	return corev1.Container{}
}
