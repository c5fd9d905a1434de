package checks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// intact is held for reading by a check that spoils a part of the product, and for writing by one that needs all to be well.
var intact sync.RWMutex

// lockIntact waits until no check spoils a part of the product, and keeps others from it until unlock is called.
func (f *framework) lockIntact() (unlock func()) {
	// Lock would hold up the checks that only read.
	f.must(node.Until(f.ctx, 4*patience, "the product to be intact", func(context.Context) error {
		if !intact.TryLock() {
			return errors.New("a check has spoiled a part of it")
		}
		return nil
	}))
	return intact.Unlock
}

// What needs a second node, or what would disturb the VMs of other checks on the first.
func TestSecondNode(t *testing.T) {
	t.Parallel()
	f := connect(t)
	migrated := vm{namespace: "migration", name: "migration", migratable: true}
	f.must(f.Namespace(f.ctx, migrated.namespace, nil))
	f.start(migrated)
	require.False(t, hasSidecar(f.pod(migrated)), "it started before its namespace was labelled")
	intact.RLock() // the node's relay is not ready at first
	t.Cleanup(intact.RUnlock)
	second := f.secondNode(node.DefaultKubeletRoot)
	f.must(f.WaitRollout(f.ctx, cluster.Relay, "DaemonSet", cluster.Relay))
	intact.RUnlock()
	f.part("migration", func(f *framework) { f.checkMigration(migrated, second) })
	f.part("image-gone", func(f *framework) { f.checkImageGone(second) })
	intact.RLock()
	f.part("reboot", func(f *framework) { f.checkReboot(second) })
}

// checkImageGone: where the sidecar's image is gone from the VM's node and cannot be pulled, running VMs go on, ready as
// before; a new one waits, as for any container's image, and starts by itself once the image is back. Its target is down,
// and no alert reports that: kube-state-metrics knows that its pod has not begun. This is why the relay's pods bring the
// image (TestUpgrade).
func (f *framework) checkImageGone(n *node.Node) {
	beside, v := vm{namespace: labelled, name: "image-before", node: n.Name}, vm{namespace: labelled, name: "image-gone", node: n.Name}
	f.start(beside)
	requireUntouched := f.observe(beside)
	importImage := func() {
		_, err := n.Import(f.ctx, node.ProductImage)
		f.must(err)
	}
	f.t.Cleanup(importImage)
	f.removeImage(n, "localhost/kubevirt-hypervisor-exporter")

	f.create(v)
	f.until("the kubelet to give up pulling for now", func() bool {
		waiting := f.sidecarState(v).State.Waiting
		return waiting != nil && waiting.Reason == "ImagePullBackOff"
	}, func() any { return f.sidecarState(v).State })
	pod := f.pod(v)
	f.must(f.isIn(v, "Scheduling"))
	require.Equal(f.t, corev1.PodPending, pod.Status.Phase)
	require.False(f.t, isReady(pod), "no Service has it: there is no VM yet")
	requireUntouched()

	f.awaitTarget(v, "down")
	labels := fmt.Sprintf("namespace=%q,pod=%q", pod.Namespace, pod.Name)
	f.awaitSeries(`kube_pod_status_phase{%[1]s,phase="Pending"} == 1 and on (namespace, pod)
		(max_over_time(up{%[1]s}[20s]) == 0 and count_over_time(up{%[1]s}[20s]) >= 3)`, labels) // longer than rules take to see it
	f.requireNoAlert("HypervisorExporterTargetDown", podLabels(v, pod))

	importImage()
	back := time.Now()
	f.awaitRunning(v)
	f.t.Logf("the VM ran %.1f s after the image was back", time.Since(back).Seconds())
	f.remove(beside, v) // before their node goes
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
	f.until("the sidecar to run", func() bool { return f.sidecarState(pair[1].vm).State.Running != nil },
		func() any { return cluster.ContainerState(f.sidecarState(pair[1].vm)) })
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
