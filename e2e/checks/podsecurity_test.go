package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// In a namespace that enforces the Pod Security Standard "restricted" a VM starts with the sidecar, where KubeVirt is
// configured to give VMs a seccomp profile: without, KubeVirt's own containers are refused there.
func TestPodSecurityRestricted(t *testing.T) {
	f := connect(t)
	t.Cleanup(func() { f.patchKubeVirt(`{"seccompConfiguration":null}`) })
	f.patchKubeVirt(`{"seccompConfiguration":{"virtualMachineInstanceProfile":{"customProfile":{"runtimeDefaultProfile":true}}}}`)
	f.awaitNewPods(vm{namespace: labelled, name: "seccomp"}, "KubeVirt to give VMs a seccomp profile", func(pod *corev1.Pod) bool {
		return pod.Spec.SecurityContext.SeccompProfile != nil
	})
	v := vm{namespace: "restricted", name: "restricted"}
	require.NoError(t, f.Namespace(f.ctx, v.namespace, map[string]string{
		inject: "enabled", "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
	}))
	t.Logf("the VM ran after %.1f s", f.start(v).Seconds())
	require.Zero(t, f.refusedPods(v, "PodSecurity"))
	f.requireMeasured(v, "kvm")
}
