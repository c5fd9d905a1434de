package checks

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// KubeVirt's setting for emulation applies to all VMs, and a guest that acts is emulated (README). So these checks run
// together; in groups, as each guest that boots takes a CPU.
func TestEmulated(t *testing.T) {
	f := connect(t)
	f.startOnKVM() // for those that turn
	f.emulated()
	pairs := map[string]func(*framework){"turned": checkTurned} // which waits for alerts
	for _, e := range endings() {
		pairs[e.name] = e.check
	}
	for _, group := range []struct {
		name   string
		checks map[string]func(*framework)
	}{
		{"with-and-without", pairs},
		{"one", map[string]func(*framework){
			"start":            func(f *framework) { f.checkStart("qemu-tcg") },
			"guest":            checkGuest,
			"soft-reboot":      checkSoftReboot,
			"without-exporter": checkWithoutExporter,
		}},
		{"no-kubelet", map[string]func(*framework){"back-off": checkBackOff}}, // by itself: it stops the kubelet
	} {
		f.part(group.name, func(f *framework) {
			for name, check := range group.checks {
				f.part(name, func(f *framework) {
					f.t.Parallel()
					check(connect(f.t))
				})
			}
		})
	}
}

var (
	stays  = vm{namespace: labelled, name: "stays-kvm"}
	turned = []vm{{namespace: labelled, name: "turned-a"}, {namespace: labelled, name: "turned-b"}}
)

// startOnKVM starts VMs on KVM, of which all but one are gone again when Prometheus has seen them.
func (f *framework) startOnKVM() {
	f.start(append(turned, stays)...)
	f.until("the node's rule to have seen them on KVM", func() bool {
		return len(f.query(`present_over_time(vmi:kubevirt_vmi_hypervisor_info:newest{name=~"turned-.",hypervisor_type="kvm"}[1d:30s])`)) == len(turned)
	}, nil)
	f.remove(turned...)
}

// VMs that ran on KVM and come back emulated, beside one that stays on KVM: an alert reports each VM, and the node. With
// VMs of both kinds there, the dashboard has something to show.
func checkTurned(f *framework) {
	f.start(turned...)
	type alert struct {
		name   string
		labels map[string]string
	}
	alerts := []alert{{"NodeTurnedToSoftwareEmulation", map[string]string{"node": f.pod(stays).Spec.NodeName}}}
	for _, v := range turned {
		labels := vmLabels(v, f.pod(v), "qemu-tcg")
		alerts = append(alerts, alert{"VirtualMachineOnSoftwareEmulation", labels}, alert{"VirtualMachineOnSoftwareEmulationBesideKVM", labels})
	}
	for _, a := range alerts {
		f.awaitAlert(a.name, a.labels)
	}
	f.part("dashboard", func(f *framework) { f.checkDashboard(turned[0]) })
	for _, v := range turned {
		f.removeNow(v)
	}
	for _, a := range alerts {
		f.awaitResolved(a.name, a.labels)
	}
}

// A VM that is paused and goes on keeps its sidecar, and its series is there all along. KubeVirt makes the pod of a paused
// VM unready, with or without us.
func TestPause(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "pause"}
	f.start(v)
	f.awaitInfo(v)
	compute := f.computeID(v)
	f.subresource(v, "pause")
	f.requireThroughout(v, "kvm")
	f.subresource(v, "unpause")
	f.requireAlive(v, compute)
	require.Zero(t, f.sidecarState(v).RestartCount)
}

// After a soft reboot VM and pod are as before, the sidecar is the same, and the series is there all along: libvirt keeps
// the domain when it presses the power button and starts the guest again.
func checkSoftReboot(f *framework) {
	v := vm{namespace: labelled, name: "soft-reboot", disk: "acpi"}
	f.start(v)
	f.awaitGuests(v)
	f.awaitInfo(v)
	requireUntouched := f.observe(v)
	f.subresource(v, "softreboot")
	f.requireThroughout(v, "qemu-tcg")
	requireUntouched()
}

// subresource calls an action of KubeVirt's API on the VM. On a busy machine the API server may find that API unavailable.
func (f *framework) subresource(v vm, action string) {
	path := fmt.Sprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s/%s", v.namespace, v.name, action)
	f.eventually(action, func() error {
		err := f.CoreV1().RESTClient().Put().AbsPath(path).Body([]byte("{}")).Do(f.ctx).Error()
		if !apierrors.IsServiceUnavailable(err) {
			f.must(err, action)
		}
		return err
	})
}
