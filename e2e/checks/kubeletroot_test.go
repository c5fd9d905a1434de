package checks

import (
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
	f := connect(t)
	// The first node's relay needs the folder of the other, too.
	f.run("sh", "-ec", fmt.Sprintf("mkdir -p %[2]s/pods; mount --bind %[1]s/pods %[2]s/pods", f.node.KubeletRoot, k0s))
	t.Cleanup(func() { f.run("umount", "-l", k0s+"/pods") })
	images := f.restoreProduct()
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

	f.install(images, fmt.Sprintf(`{target: {kind: DaemonSet, name: hypervisor-exporter-relay},
		patch: '[{"op": "replace", "path": "/spec/template/spec/volumes/0/hostPath/path", "value": "%s/pods"}]'}`, k0s))
	f.awaitTarget(v, "up")
	require.Equal(t, second.Name, f.awaitInfo(v).Metric["node"])
	requireUntouched()
	f.remove(v) // before its node goes
	f.part("reboot", func(f *framework) { f.checkReboot(second) })
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

// checkReboot reboots the node when a VM's sidecar runs and its own container does not yet, which a missing image holds
// back. The VM ends as the one without a sidecar beside it: the next kubelet admits neither pod, as the devices that
// KubeVirt offers are not there yet (UnexpectedAdmissionError), and KubeVirt has both VMs fail, for a VirtualMachine to
// start again.
func (f *framework) checkReboot(n *node.Node) {
	f.removeImage(n, "/virt-launcher:")
	var pair []*recorder
	for _, namespace := range []string{plain, labelled} {
		v := vm{namespace: namespace, name: "reboot", node: n.Name, noConsoleLog: true} // KubeVirt's own sidecar would wait for the image, too
		pair = append(pair, f.watch(v))
		f.create(v)
	}
	f.eventually("the sidecar to run", func() error {
		if s := f.sidecarState(pair[1].vm); s.State.Running == nil {
			return errors.New(cluster.ContainerState(s))
		}
		return nil
	})
	f.must(n.Reboot(f.ctx))
	rebooted := time.Now()
	f.must(f.WaitNode(f.ctx, n.Name))
	for _, state := range []string{"pod Failed", "vmi Failed"} {
		for _, r := range pair {
			f.t.Logf("%s: %s %.1f s after the node began to boot", r.key(), state, f.await(r, state).Sub(rebooted).Seconds())
			require.NotContains(f.t, r.states(), "vmi Running", r.namespace)
		}
	}
}
