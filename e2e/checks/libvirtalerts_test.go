package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A libvirt that hangs is told, first as what does not answer, and then by the VM of which nothing is known. What KubeVirt
// makes of it is left open: it gives a VM up whose libvirt hangs just when virt-handler lists its domains anew.
func TestLibvirtFrozen(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "libvirt-frozen"}
	w.start(t, v)
	w.awaitTarget(t, v, "up")
	pod := w.pod(t, v)
	pid, err := w.libvirtPID(t.Context(), v)
	require.NoError(t, err)
	_, err = w.exec(t.Context(), pod, "compute", "kill", "-STOP", pid)
	require.NoError(t, err)
	w.awaitAlert(t, "HypervisorExporterLibvirtUnreachable", podLabels(v, pod))
	w.awaitAlert(t, "VirtualMachineHypervisorUnknown", vmLabels(v, pod, "hypervisor_type", "unknown"))
	_, err = w.exec(t.Context(), pod, "compute", "kill", "-CONT", pid)
	require.NoError(t, err)
	w.awaitResolved(t, "HypervisorExporterLibvirtUnreachable", podLabels(v, pod))
	w.awaitResolved(t, "VirtualMachineHypervisorUnknown", vmLabels(v, pod, "hypervisor_type", "unknown"))
}
