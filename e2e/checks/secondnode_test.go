package checks

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cache"
	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// secondNode adds a node to the cluster until the test ends, and returns once it can run VMs and has its relay.
func (w *world) secondNode(t *testing.T) *node.Node {
	t.Helper()
	second := w.addNode(t, node.DefaultKubeletRoot)
	require.NoError(t, w.WaitDaemonSet(t.Context(), cluster.Relay, cluster.Relay))
	return second
}

// addNode adds a node to the cluster until the test ends, and returns once it can run VMs.
func (w *world) addNode(t *testing.T, kubeletRoot string) *node.Node {
	t.Helper()
	dir, err := cache.User()
	require.NoError(t, err)
	require.NoError(t, w.node.Recall())
	second := node.Second(dir.Path("node-2"), w.node)
	second.KubeletRoot = kubeletRoot
	t.Cleanup(func() { w.removeNode(t, second) })
	require.NoError(t, second.Start(t.Context()))
	for _, archive := range []string{node.Images, node.SidecarImage, node.RelayImage} {
		_, err := second.Import(t.Context(), archive)
		require.NoError(t, err)
	}
	require.NoError(t, second.CopyGuests(t.Context()))
	require.NoError(t, w.WaitNode(t.Context(), second.Name))
	w.awaitSchedulable(t, second)
	return second
}

// awaitSchedulable waits until KubeVirt lets VMs onto the node.
func (w *world) awaitSchedulable(t *testing.T, n *node.Node) {
	t.Helper()
	eventually(t, patience, n.Name+" to take VMs", func(ctx context.Context) error {
		node, err := w.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err == nil && node.Labels["kubevirt.io/schedulable"] != "true" {
			err = errors.New("virt-handler does not say so")
		}
		return err
	})
}

// removeNode ends the node and takes it and what ran there out of the cluster.
func (w *world) removeNode(t *testing.T, second *node.Node) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	// Its daemons' pods would be made anew until it is gone.
	err := w.CoreV1().Nodes().Delete(ctx, second.Name, metav1.DeleteOptions{})
	if !cluster.IsNotFound(err) {
		require.NoError(t, err)
	}
	require.NoError(t, second.Stop(ctx))
	zero := int64(0)
	pods, err := w.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + second.Name})
	require.NoError(t, err)
	for _, pod := range pods.Items {
		err := w.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
		if !cluster.IsNotFound(err) {
			require.NoError(t, err)
		}
	}
}

// launchers are the VM's pods that have not ended.
func (w *world) launchers(ctx context.Context, v vm) ([]corev1.Pod, error) {
	pods, err := w.CoreV1().Pods(v.namespace).List(ctx, metav1.ListOptions{LabelSelector: "check=" + v.name})
	if err != nil {
		return nil, err
	}
	var there []corev1.Pod
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			there = append(there, pod)
		}
	}
	return there, nil
}
