package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/node"
)

// What an image costs that is gone from the VM's node and cannot be pulled: VMs that run go on, ready as before; a new
// one waits, as for any container's image, and starts by itself once the image is back. This is why the relay's pods
// bring it (TestUpgrade).
func TestImageGoneFromNode(t *testing.T) {
	w := connect(t)
	beside, v := vm{namespace: labelled, name: "image-before"}, vm{namespace: labelled, name: "image-gone"}
	w.start(t, beside)
	w.awaitReady(t, beside)
	states, compute := w.watch(t, beside), w.computeID(t, beside)
	t.Cleanup(func() {
		_, err := w.node.Import(context.Background(), node.SidecarImage)
		require.NoError(t, err)
	})
	w.removeSidecarImage(t)

	w.create(t, v)
	eventually(t, time.Minute, "the kubelet to give up pulling for now", func(context.Context) error {
		waiting := sidecarStatus(w.pod(t, v)).State.Waiting
		if waiting == nil || waiting.Reason != "ImagePullBackOff" {
			return fmt.Errorf("it waits for %v", waiting)
		}
		return nil
	})
	pod := w.pod(t, v)
	require.NoError(t, w.isIn(t.Context(), v, "Scheduling"))
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	require.False(t, isReady(pod), "no Service has it: there is no VM yet")
	w.requireUntouched(t, beside, states, compute)
	w.requireNoTargetAlert(t, v)

	_, err := w.node.Import(t.Context(), node.SidecarImage)
	require.NoError(t, err)
	back := time.Now()
	eventually(t, 2*time.Minute, "the VM to run", func(ctx context.Context) error { return w.isIn(ctx, v, "Running") })
	t.Logf("the VM ran %.1f s after the image was back", time.Since(back).Seconds())
}

// requireNoTargetAlert fails unless the VM's target is down and no alert says so: kube-state-metrics knows that its pod has
// not begun.
func (w *world) requireNoTargetAlert(t *testing.T, v vm) {
	t.Helper()
	w.awaitTarget(t, v, "down")
	pod := w.pod(t, v)
	labels := fmt.Sprintf("namespace=%q,pod=%q", pod.Namespace, pod.Name)
	w.awaitSeries(t, fmt.Sprintf(`kube_pod_status_phase{%[1]s,phase="Pending"} == 1 and on (namespace, pod)
		(max_over_time(up{%[1]s}[20s]) == 0 and count_over_time(up{%[1]s}[20s]) >= 3)`, labels)) // longer than rules take to see it
	short, own, _, err := w.alerts(t.Context(), "HypervisorExporterTargetDown", podLabels(v, pod))
	require.NoError(t, err)
	require.Nil(t, short)
	require.Nil(t, own)
}

// removeSidecarImage takes the image from the node, by all of its names.
func (w *world) removeSidecarImage(t *testing.T) {
	t.Helper()
	const ours = "kubevirt-hypervisor-exporter/sidecar"
	list, err := w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "ls")
	require.NoError(t, err)
	digest := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, ours) {
			digest = strings.Fields(line)[2]
		}
	}
	require.NotEmpty(t, digest, list)
	for line := range strings.Lines(list) { // its id is a name of its own
		if strings.Contains(line, digest) {
			_, err := w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "rm", "--sync", strings.Fields(line)[0])
			require.NoError(t, err)
		}
	}
	eventually(t, time.Minute, "the image to be gone", func(ctx context.Context) error {
		list, err := w.node.Run(ctx, "ctr", "-n", "k8s.io", "images", "ls", "-q")
		if err == nil && strings.Contains(list, ours) {
			err = errors.New("it is still there")
		}
		return err
	})
}
