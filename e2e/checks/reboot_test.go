package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// checkReboot has the node reboot when a VM's sidecar runs and its own container does not yet, which a missing image holds
// back. The VM ends as the one without a sidecar beside it: the next kubelet takes up neither pod, for the devices that
// KubeVirt offers are not there yet (UnexpectedAdmissionError), and KubeVirt has both VMs fail, for a VirtualMachine to
// start again.
func (w *world) checkReboot(t *testing.T, n *node.Node) {
	w.removeLauncherImage(t, n)
	var histories []*history
	pair := []vm{
		{namespace: plain, name: "reboot", node: n.Name, noConsoleLog: true}, // KubeVirt's own sidecar would wait for the image, too
		{namespace: labelled, name: "reboot", node: n.Name, noConsoleLog: true},
	}
	for _, v := range pair {
		histories = append(histories, w.watch(t, v))
		w.create(t, v)
	}
	eventually(t, patience, "the sidecar to run", func(context.Context) error {
		if status := sidecarStatus(w.pod(t, pair[1])); status.State.Running == nil {
			return errors.New(cluster.ContainerState(status))
		}
		return nil
	})
	require.NoError(t, n.Reboot(t.Context()))
	rebooted := time.Now()
	require.NoError(t, w.WaitNode(t.Context(), n.Name))
	for _, state := range []string{"pod Failed", "vmi Failed"} {
		for i, v := range pair {
			w.awaitState(t, v, histories[i], state)
			when, _ := histories[i].at(state)
			t.Logf("%s/%s: %s %.1f s after the node began to boot", v.namespace, v.name, state, when.Sub(rebooted).Seconds())
		}
	}
	for i, v := range pair {
		require.NotContains(t, histories[i].states(), "vmi Running", v.namespace)
	}
}

// removeLauncherImage takes virt-launcher's image from the node.
func (w *world) removeLauncherImage(t *testing.T, n *node.Node) {
	t.Helper()
	list, err := n.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "ls")
	require.NoError(t, err)
	digest, launcher := "", ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, "/virt-launcher:") {
			launcher, digest = strings.Fields(line)[0], strings.Fields(line)[2]
		}
	}
	require.NotEmpty(t, digest, list)
	for line := range strings.Lines(list) {
		if strings.Contains(line, digest) {
			_, err := n.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "rm", "--sync", strings.Fields(line)[0])
			require.NoError(t, err)
		}
	}
	eventually(t, time.Minute, "the image to be gone", func(ctx context.Context) error {
		list, err := n.Run(ctx, "ctr", "-n", "k8s.io", "images", "ls", "-q")
		if err == nil && strings.Contains(list, launcher) {
			err = fmt.Errorf("%s is still there", launcher)
		}
		return err
	})
}
