package checks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// In a namespace that enforces the Pod Security Standard "restricted" a VM starts with the sidecar, where KubeVirt is
// configured to give VMs a seccomp profile: without, KubeVirt's own containers are refused there.
func TestPodSecurityRestricted(t *testing.T) {
	w := connect(t)
	t.Cleanup(func() { w.setSeccomp(t, "null") })
	w.setSeccomp(t, `{"virtualMachineInstanceProfile":{"customProfile":{"runtimeDefaultProfile":true}}}`)
	eventually(t, time.Minute, "KubeVirt to give VMs a seccomp profile", func(context.Context) error {
		probe := vm{namespace: labelled, name: "probe", nowhere: true}
		w.create(t, probe)
		defer w.removeNow(t, probe)
		if w.pod(t, probe).Spec.SecurityContext.SeccompProfile == nil {
			return errors.New("none yet")
		}
		return nil
	})
	v := vm{namespace: "restricted", name: "restricted"}
	require.NoError(t, w.Namespace(t.Context(), v.namespace, map[string]string{
		inject: "enabled", "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
	}))
	took := w.start(t, v)
	t.Logf("the VM ran after %.1f s", took.Seconds())
	require.True(t, hasSidecar(w.pod(t, v)))
	require.Zero(t, w.refusedPods(t, v, "PodSecurity"))
	w.awaitReady(t, v)
	w.awaitTarget(t, v, "up")
	require.Equal(t, "kvm", w.awaitInfo(t, v).Metric["hypervisor_type"])
}

// setSeccomp sets KubeVirt's seccompConfiguration, in JSON, for VMs that start from now on.
func (w *world) setSeccomp(t *testing.T, configuration string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience) // a clean-up too
	defer stop()
	resource, err := w.Resource(cluster.KubeVirtKind, "kubevirt")
	require.NoError(t, err)
	patch := fmt.Sprintf(`{"spec":{"configuration":{"seccompConfiguration":%s}}}`, configuration)
	_, err = resource.Patch(ctx, "kubevirt", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}
