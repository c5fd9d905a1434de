package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// When the libvirt daemon inside compute is killed, virt-launcher starts it again or ends the VM. A VM that runs on is
// detected again over a new connection, by a sidecar that was not restarted; one that ends leaves no series.
func TestLibvirtKilled(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "libvirt"}
	f.start(v)
	f.awaitInfo(v)
	connects := v.series("hypervisor_exporter_libvirt_connects_total")
	pod, before := f.pod(v), f.number("%s", connects)
	old := f.libvirtPID(pod)
	f.exec(pod, "compute", "kill", "-9", old)
	killed := time.Now()
	ended := func() bool { return f.isIn(v, "Running") != nil }
	f.until("a new libvirt and a new connection to it, or the end of the VM", func() bool {
		now := f.libvirtPID(pod)
		return ended() || now != "" && now != old && f.number("%s", connects) > before
	}, nil)
	t.Logf("%.1f s after the kill; the VM has ended: %t", time.Since(killed).Seconds(), ended())
	if ended() {
		f.awaitNoSeries(v)
		return
	}
	f.requireMeasured(v, "kvm")
	require.EqualValues(t, 1, f.number("%s", v.series("hypervisor_exporter_libvirt_up")))
}

// A libvirt that hangs is reported, first as one that does not answer, and then with the VM whose type is unknown. What
// KubeVirt does is left open: it gives up a VM whose libvirt hangs while virt-handler lists the domains again.
func TestLibvirtFrozen(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "libvirt-frozen"}
	f.start(v)
	f.awaitTarget(v, "up")
	pod := f.pod(v)
	pid := f.libvirtPID(pod)
	f.exec(pod, "compute", "kill", "-STOP", pid)
	f.awaitAlert("HypervisorExporterLibvirtUnreachable", podLabels(v, pod))
	f.awaitAlert("VirtualMachineHypervisorUnknown", vmLabels(v, pod, "unknown"))
	f.exec(pod, "compute", "kill", "-CONT", pid)
	f.awaitResolved("HypervisorExporterLibvirtUnreachable", podLabels(v, pod))
	f.awaitResolved("VirtualMachineHypervisorUnknown", vmLabels(v, pod, "unknown"))
}

// libvirtPID is that of the libvirt daemon in the VM's own container, in the container's pid namespace; "" while none runs.
func (f *framework) libvirtPID(pod *corev1.Pod) string {
	pid := f.findPID(pod, "compute")
	output, _ := f.node.Run(f.ctx, "nsenter", "-t", pid, "-m", "-p", "--", "pgrep", "-o", "-x", "libvirtd|virtqemud") // the oldest: it forks
	return strings.TrimSpace(output)
}

// A QEMU that hangs is reported, by libvirt's word, while KubeVirt shows the VM as Running; the VM goes on as if nothing
// had been.
func TestMonitorStuck(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "qemu-frozen"}
	f.start(v)
	f.awaitSeries("%s", v.series("kubevirt_vmi_hypervisor_control_state_seconds"))
	pod := f.pod(v)
	qemu := f.qemu(v)
	f.exec(pod, "compute", "kill", "-STOP", qemu)
	// libvirt notices with the first command, and waits on after the client has gone.
	f.exec(pod, "compute", "sh", "-c", "! timeout 2 virsh -c '"+libvirtURI+"' dommemstat "+labelled+"_"+v.name)
	f.awaitAlert("VirtualMachineMonitorStuck", vmLabels(v, pod, ""))
	f.exec(pod, "compute", "kill", "-CONT", qemu)
	f.awaitResolved("VirtualMachineMonitorStuck", vmLabels(v, pod, ""))
	f.requireMeasured(v, "kvm")
	require.Equal(t, qemu, f.qemu(v))
}
