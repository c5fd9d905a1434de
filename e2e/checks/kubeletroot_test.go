package checks

import (
	"fmt"
	"strings"
	"testing"

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
	f := connect(t)
	// The first node's relay needs the folder of the other, too.
	f.run("sh", "-ec", fmt.Sprintf("mkdir -p %[2]s/pods; mount --bind %[1]s/pods %[2]s/pods", f.node.KubeletRoot, k0s))
	t.Cleanup(func() { f.run("umount", "-l", k0s+"/pods") })
	image := f.restoreProduct()
	second := f.secondNode(k0s) // goes before the product is as it was
	f.runOn(second, "umount", "-l", node.DefaultKubeletRoot+"/pods")
	f.restartRelay(second)

	v := vm{namespace: labelled, name: "kubelet-root", node: second.Name}
	f.start(v)
	requireUntouched := f.observe(v)
	f.awaitRelayLog(second, "--kubelet-pods-dir="+node.DefaultKubeletRoot+"/pods is not where this node's kubelet keeps its pods")
	relay := f.relayOn(second.Name)
	require.Equal(t, corev1.PodRunning, relay.Status.Phase)
	require.False(t, isReady(relay))
	f.awaitTarget(v, "down")

	f.install(image, fmt.Sprintf(`{target: {kind: DaemonSet, name: hypervisor-exporter-relay},
		patch: '[{"op": "replace", "path": "/spec/template/spec/volumes/0/hostPath/path", "value": "%s/pods"}]'}`, k0s))
	f.awaitTarget(v, "up")
	require.Equal(t, second.Name, f.awaitInfo(v).Metric["node"])
	requireUntouched()
	f.remove(v) // before its node goes
}

// restartRelay deletes the node's relay, and waits for the container of the next to run.
func (f *framework) restartRelay(n *node.Node) {
	old := f.relayOn(n.Name)
	f.must(f.CoreV1().Pods(cluster.Relay).Delete(f.ctx, old.Name, metav1.DeleteOptions{}))
	f.until("another relay on "+n.Name, func() bool {
		relay := f.relayOn(n.Name)
		return relay.UID != old.UID && status(relay, "relay").State.Running != nil
	}, nil)
}

// awaitRelayLog waits until the log of the node's relay contains the text.
func (f *framework) awaitRelayLog(n *node.Node, text string) {
	f.eventually("the relay of "+n.Name+" to log why it is not ready", func() error {
		log, err := f.CoreV1().Pods(cluster.Relay).GetLogs(f.relayOn(n.Name).Name, &corev1.PodLogOptions{Container: "relay"}).DoRaw(f.ctx)
		if err == nil && !strings.Contains(string(log), text) {
			err = fmt.Errorf("its log is %q", log)
		}
		return err
	})
}
