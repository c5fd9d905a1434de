package limits

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Lacking returns which of a quota's resources is too small for one more sidecar, and how much is left; empty if none is. A
// quota that counts limits of CPU admits only containers with one, and the sidecar's is its request then.
func Lacking(cfg inject.Config, quota *corev1.ResourceQuota) string {
	if !counts(quota) {
		return ""
	}
	for _, resource := range []struct {
		need  resource.Quantity
		names []corev1.ResourceName
	}{
		{cfg.CPU, []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceRequestsCPU, corev1.ResourceLimitsCPU}},
		{cfg.Memory, []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceRequestsMemory, corev1.ResourceLimitsMemory}},
	} {
		for _, name := range resource.names {
			left, limited := quota.Status.Hard[name]
			if !limited {
				continue
			}
			left = left.DeepCopy()
			left.Sub(quota.Status.Used[name])
			if left.Cmp(resource.need) < 0 {
				return fmt.Sprintf("%s: %s left, %s needed", name, left.String(), resource.need.String())
			}
		}
	}
	return ""
}

// counts reports whether the quota counts VMs' pods: these state resources and run until they are ended. A quota for some
// priority classes may or may not.
func counts(quota *corev1.ResourceQuota) bool {
	return quota.Spec.ScopeSelector == nil && !slices.ContainsFunc(quota.Spec.Scopes, func(scope corev1.ResourceQuotaScope) bool {
		return scope != corev1.ResourceQuotaScopeNotBestEffort && scope != corev1.ResourceQuotaScopeNotTerminating
	})
}
