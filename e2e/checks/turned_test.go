package checks

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	stays  = vm{namespace: labelled, name: "stays-kvm"}
	turned = []vm{{namespace: labelled, name: "turned-a"}, {namespace: labelled, name: "turned-b"}}
)

// startOnKVM has VMs run on KVM, of which all but one are gone again when Prometheus has seen them.
func (w *world) startOnKVM(t *testing.T) {
	t.Helper()
	w.startAll(t, append(turned, stays))
	eventually(t, patience, "the node's rule to have seen them on KVM", func(ctx context.Context) error {
		found, err := w.Query(ctx, `present_over_time(vmi:kubevirt_vmi_hypervisor_info:newest{name=~"turned-.",hypervisor_type="kvm"}[1d:10s])`)
		if err == nil && len(found) != len(turned) {
			err = fmt.Errorf("%d", len(found))
		}
		return err
	})
	w.removeForGood(t, turned)
}

// VMs that ran on KVM and come back emulated, beside one that stays on KVM: who is on duty is told of each VM, and of the
// node. With VMs of both kinds there, the dashboard has something to show.
func checkTurned(t *testing.T, w *world) {
	w.startAll(t, turned)
	alerts := map[string][]map[string]string{"NodeTurnedToSoftwareEmulation": {{"node": w.pod(t, stays).Spec.NodeName}}}
	for _, v := range turned {
		labels := vmLabels(v, w.pod(t, v), "hypervisor_type", "qemu-tcg")
		for _, name := range []string{"VirtualMachineOnSoftwareEmulation", "VirtualMachineOnSoftwareEmulationBesideKVM"} {
			alerts[name] = append(alerts[name], labels)
		}
	}
	for name, all := range alerts {
		for _, labels := range all {
			w.awaitAlert(t, name, labels)
		}
	}
	t.Run("dashboard", w.checkDashboard)
	for _, v := range turned {
		w.removeNow(t, v)
	}
	for name, all := range alerts {
		for _, labels := range all {
			w.awaitResolved(t, name, labels)
		}
	}
}

// removeForGood deletes VMs and waits until their pods are gone, too: virt-handler refuses a VM while it remembers one of
// the same name ("ghost record").
func (w *world) removeForGood(t *testing.T, vms []vm) {
	t.Helper()
	for _, v := range vms {
		require.NoError(t, w.Client.Delete(t.Context(), v.object(t)))
	}
	for _, v := range vms {
		w.remove(t, v)
		eventually(t, patience, "the pod of "+v.name+" to be gone", func(ctx context.Context) error {
			pods, err := w.CoreV1().Pods(v.namespace).List(ctx, metav1.ListOptions{LabelSelector: "check=" + v.name})
			if err == nil && len(pods.Items) > 0 {
				err = fmt.Errorf("%d there", len(pods.Items))
			}
			return err
		})
	}
}

// startAll starts VMs side by side and waits until all run. They go with the test.
func (w *world) startAll(t *testing.T, vms []vm) {
	t.Helper()
	for _, v := range vms {
		w.create(t, v)
	}
	for _, v := range vms {
		w.awaitRunning(t, v)
	}
}
