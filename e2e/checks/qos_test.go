package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// A VM with dedicated CPUs stays Guaranteed, and pinned to a CPU of its own.
func TestDedicatedCPUs(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "dedicated", dedicated: true}
	w.start(t, v)
	pod := w.pod(t, v)
	require.True(t, hasSidecar(pod))
	require.Equal(t, corev1.PodQOSGuaranteed, pod.Status.QOSClass)
	xml, err := w.virsh(t.Context(), pod, "dumpxml", v.namespace+"_"+v.name)
	require.NoError(t, err)
	require.Contains(t, xml, "<vcpupin vcpu='0' cpuset=", "the guest's CPU is pinned")
	cpus, err := w.exec(t.Context(), pod, "compute", "cat", "/sys/fs/cgroup/cpuset/cpuset.cpus")
	require.NoError(t, err)
	t.Logf("compute may use the CPUs %s", cpus)
	require.Regexp(t, `^\d+\s*$`, cpus, "one CPU, exclusively")
}
