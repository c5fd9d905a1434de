package limits

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Samples returns VMs' pods whose sidecars differ in size, made from one virt-launcher pod: as it is, without the container
// that keeps the guest's log, and with limits, as a VM with dedicated CPUs has them.
func Samples(launcher *corev1.Pod) []*corev1.Pod {
	plain := launcher.DeepCopy()
	plain.Spec.InitContainers = slices.DeleteFunc(plain.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "guest-console-log" })
	limited := plain.DeepCopy()
	for i := range limited.Spec.Containers {
		list := &limited.Spec.Containers[i].Resources
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if request, ok := list.Requests[name]; ok && list.Limits != nil {
				list.Limits[name] = request
			}
		}
	}
	return []*corev1.Pod{launcher, plain, limited}
}

// Refused returns the rules of the ranges that one of the pods breaks with the sidecar and not without it, in one of the
// orders in which the API server may take the ranges. The annotations are added to the pod.
func Refused(cfg inject.Config, ranges []corev1.LimitRange, pods []*corev1.Pod, annotations map[string]string) ([]Violation, error) {
	var found []Violation
	for _, pod := range pods {
		pod = pod.DeepCopy()
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		maps.Copy(pod.Annotations, annotations)
		for _, order := range Orders(ranges) {
			with, err := Injected(cfg, order, pod)
			if err != nil {
				return nil, err
			}
			before := violations(order, WithDefaults(order, pod))
			for _, one := range violations(order, with) {
				known := func(v Violation) bool { return v.rule() == one.rule() }
				if !slices.ContainsFunc(before, known) && !slices.ContainsFunc(found, known) {
					found = append(found, one)
				}
			}
		}
	}
	return found, nil
}

// Injected returns the pod with the sidecar, if it gets one, and with the ranges' defaults: LimitRanger sets them before
// the webhook is called, and again after it. Of the configuration only the sidecar's size matters here.
func Injected(cfg inject.Config, ranges []corev1.LimitRange, pod *corev1.Pod) (*corev1.Pod, error) {
	sized := inject.Default(cfg.Image)
	sized.CPU, sized.Memory = cfg.CPU, cfg.Memory
	pod = WithDefaults(ranges, pod)
	asJSON, err := json.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("encode a virt-launcher pod: %w", err)
	}
	if asJSON, err = inject.Apply(asJSON, inject.Decide(sized, inject.FromCore(pod)).Patch); err != nil {
		return nil, fmt.Errorf("inject into a virt-launcher pod: %w", err)
	}
	with := &corev1.Pod{}
	if err := json.Unmarshal(asJSON, with); err != nil {
		return nil, fmt.Errorf("read an injected virt-launcher pod: %w", err)
	}
	return WithDefaults(ranges, with), nil
}

// Fix returns annotations of a VM with which none of the pods is refused because of the sidecar; nil if there are none.
func Fix(cfg inject.Config, ranges []corev1.LimitRange, pods []*corev1.Pod) map[string]string {
	cpus, memories := candidates(ranges, corev1.ResourceCPU, cfg.CPU), candidates(ranges, corev1.ResourceMemory, cfg.Memory)
	for _, cpu := range append([]string{""}, cpus...) {
		for _, memory := range append([]string{""}, memories...) {
			annotations := map[string]string{}
			if cpu != "" {
				annotations[inject.AnnotationCPU] = cpu
			}
			if memory != "" {
				annotations[inject.AnnotationMemory] = memory
			}
			refused, err := Refused(cfg, ranges, pods, annotations)
			if err == nil && len(refused) == 0 && len(annotations) > 0 {
				return annotations
			}
		}
	}
	return nil
}

// candidates returns sizes to try: the configured one, which an annotation makes both request and limit, and each bound.
func candidates(ranges []corev1.LimitRange, name corev1.ResourceName, configured resource.Quantity) []string {
	all := []string{configured.String()}
	for _, limit := range items(ranges, corev1.LimitTypeContainer) {
		for _, bounds := range []corev1.ResourceList{limit.Min, limit.Max} {
			if bound, ok := bounds[name]; ok && !slices.Contains(all, bound.String()) {
				all = append(all, bound.String())
			}
		}
	}
	return all[:min(len(all), 6)] // tenants write LimitRanges: each candidate is tried with each of the other resource
}

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
