package checks

import (
	"context"
	"fmt"
	"testing"
)

// VMs that ran on KVM and come back emulated, beside one that stays on KVM: who is on duty is told of each VM, and of the
// node. With VMs of both kinds there, the dashboard has something to show.
func TestEmulationAlerts(t *testing.T) {
	w := connect(t)
	stays := vm{namespace: labelled, name: "stays-kvm"}
	turned := []vm{{namespace: labelled, name: "turned-a"}, {namespace: labelled, name: "turned-b"}}
	w.startAll(t, append(turned, stays))
	eventually(t, patience, "the node's rule to have seen them on KVM", func(ctx context.Context) error {
		found, err := w.Query(ctx, `present_over_time(vmi:kubevirt_vmi_hypervisor_info:newest{name=~"turned-.",hypervisor_type="kvm"}[1d:10s])`)
		if err == nil && len(found) != len(turned) {
			err = fmt.Errorf("%d", len(found))
		}
		return err
	})
	for _, v := range turned {
		w.removeNow(t, v)
	}
	w.emulated(t)
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

// startAll starts VMs side by side and waits until all run. They go with the test.
func (w *world) startAll(t *testing.T, vms []vm) {
	t.Helper()
	for _, v := range vms {
		w.create(t, v)
	}
	for _, v := range vms {
		eventually(t, patience, "VM "+v.name+" to run", func(ctx context.Context) error { return w.isIn(ctx, v, "Running") })
	}
}
