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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// k0s is where the kubelet of k0s keeps its pods.
const k0s = "/var/lib/k0s/kubelet"

// On a node whose kubelet has another root folder, the relay is not ready and its log names the flag: no VM there is
// scraped, and the VMs run. With the folder set, as docs/install.md has it, they are scraped.
func TestKubeletRoot(t *testing.T) {
	w := connect(t)
	w.showPods(t, w.node, k0s+"/pods")
	images := w.productImages(t)
	standard, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.InstallProduct(context.Background(), standard)) })
	second := w.addNode(t, k0s) // goes before the product is as it was
	_, err = second.Run(t.Context(), "umount", "-l", node.DefaultKubeletRoot+"/pods")
	require.NoError(t, err)
	w.restartRelay(t, second)

	v := vm{namespace: labelled, name: "kubelet-root", node: second.Name}
	w.start(t, v)
	w.awaitReady(t, v)
	states, compute := w.watch(t, v), w.computeID(t, v)
	w.awaitRelayLog(t, second, "--kubelet-pods-dir="+node.DefaultKubeletRoot+"/pods is not where this node's kubelet keeps its pods")
	relay, err := w.relayOn(t.Context(), second.Name)
	require.NoError(t, err)
	require.Equal(t, corev1.PodRunning, relay.Status.Phase)
	require.False(t, isReady(relay))
	w.awaitTarget(t, v, "down")

	other, err := cluster.ProductObjects(product(t), cluster.Default, images, fmt.Sprintf(
		`{target: {kind: DaemonSet, name: hypervisor-exporter-relay}, patch: '[{"op": "replace", "path": "/spec/template/spec/volumes/0/hostPath/path", "value": "%s/pods"}]'}`, k0s))
	require.NoError(t, err)
	require.NoError(t, w.InstallProduct(t.Context(), other))
	set := time.Now()
	w.awaitTarget(t, v, "up")
	require.Equal(t, second.Name, w.awaitInfo(t, v).Metric["node"])
	t.Logf("scraped %.1f s after the folder was set", time.Since(set).Seconds())
	w.requireUntouched(t, v, states, compute)
	w.remove(t, v) // before its node goes
	t.Run("reboot", func(t *testing.T) { w.checkReboot(t, second) })
}

// showPods shows a node's folder of pods at another path, too, until the test ends.
func (w *world) showPods(t *testing.T, n *node.Node, path string) {
	t.Helper()
	_, err := n.Run(t.Context(), "sh", "-ec", fmt.Sprintf("mkdir -p %[2]s; mount --bind %[1]s/pods %[2]s", n.KubeletRoot, path))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := n.Run(context.Background(), "umount", "-l", path)
		require.NoError(t, err)
	})
}

// restartRelay has the node's relay made anew, and waits for the container to run.
func (w *world) restartRelay(t *testing.T, n *node.Node) {
	t.Helper()
	old, err := w.relayOn(t.Context(), n.Name)
	require.NoError(t, err)
	require.NoError(t, w.CoreV1().Pods(cluster.Relay).Delete(t.Context(), old.Name, metav1.DeleteOptions{}))
	eventually(t, patience, "another relay on "+n.Name, func(ctx context.Context) error {
		relay, err := w.relayOn(ctx, n.Name)
		if err == nil && (relay.UID == old.UID || relayStatus(relay).State.Running == nil) {
			err = errors.New("it does not run")
		}
		return err
	})
}

// awaitRelayLog waits until the log of the node's relay says something.
func (w *world) awaitRelayLog(t *testing.T, n *node.Node, says string) {
	t.Helper()
	eventually(t, time.Minute, "the relay of "+n.Name+" to log why it is not ready", func(ctx context.Context) error {
		relay, err := w.relayOn(ctx, n.Name)
		if err != nil {
			return err
		}
		log, err := w.CoreV1().Pods(cluster.Relay).GetLogs(relay.Name, &corev1.PodLogOptions{Container: "relay"}).DoRaw(ctx)
		if err == nil && !strings.Contains(string(log), says) {
			err = fmt.Errorf("it says %q", log)
		}
		return err
	})
}
