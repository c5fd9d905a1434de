package room

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Lacking says which of a quota's resources has no room for one more sidecar, and how much is left; empty if all have. A
// quota that counts limits of CPU admits only containers with one, and the sidecar's is its request then.
func Lacking(cfg inject.Config, quota *corev1.ResourceQuota) string {
	if !counts(quota) {
		return ""
	}
	for _, one := range []struct {
		name corev1.ResourceName
		need corev1.ResourceName
	}{
		{corev1.ResourceCPU, corev1.ResourceCPU}, {corev1.ResourceRequestsCPU, corev1.ResourceCPU}, {corev1.ResourceLimitsCPU, corev1.ResourceCPU},
		{corev1.ResourceMemory, corev1.ResourceMemory}, {corev1.ResourceRequestsMemory, corev1.ResourceMemory}, {corev1.ResourceLimitsMemory, corev1.ResourceMemory},
	} {
		hard, limited := quota.Status.Hard[one.name]
		if !limited {
			continue
		}
		left := hard.DeepCopy()
		left.Sub(quota.Status.Used[one.name])
		need := cfg.CPU
		if one.need == corev1.ResourceMemory {
			need = cfg.Memory
		}
		if left.Cmp(need) < 0 {
			return fmt.Sprintf("%s: %s left, %s needed", one.name, left.String(), need.String())
		}
	}
	return ""
}

// counts says whether the quota counts VMs' pods: these state resources and run until they are ended. A quota for certain
// priority classes may or may not.
func counts(quota *corev1.ResourceQuota) bool {
	return quota.Spec.ScopeSelector == nil && !slices.ContainsFunc(quota.Spec.Scopes, func(scope corev1.ResourceQuotaScope) bool {
		return scope != corev1.ResourceQuotaScopeNotBestEffort && scope != corev1.ResourceQuotaScopeNotTerminating
	})
}
