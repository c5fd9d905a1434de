// Package limits finds out whether the LimitRanges and ResourceQuotas of a namespace admit the sidecar. It does no I/O.
package limits

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Violation is a rule of a LimitRange that a pod breaks.
type Violation struct {
	// Range is the LimitRange's name.
	Range    string
	Type     corev1.LimitType
	Resource corev1.ResourceName
	// Rule is min, max, maxLimitRequestRatio or default.
	Rule string
	// Text is the rule and how the pod breaks it.
	Text string
}

// rule returns the violation without its numbers, which the sidecar changes.
func (v Violation) rule() Violation {
	v.Text = ""
	return v
}

// Orders returns the orders of the ranges that matter: the first one that has a default sets it, and the API server takes
// the ranges of a namespace in any order (it ranges over a map of its cache). Tenants write LimitRanges: of many, some are tried.
func Orders(ranges []corev1.LimitRange) [][]corev1.LimitRange {
	const most = 8
	orders := make([][]corev1.LimitRange, min(len(ranges), most))
	for i := range orders {
		orders[i] = slices.Concat(ranges[i:], ranges[:i])
	}
	return orders
}

// WithDefaults returns the pod after the API server's plugin LimitRanger has filled in what its containers do not state.
// The ranges are as the API server stores them, so their own defaults are set.
func WithDefaults(ranges []corev1.LimitRange, pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	for _, limit := range items(ranges, corev1.LimitTypeContainer) {
		for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range containers {
				fill(&containers[i].Resources.Limits, limit.Default)
				fill(&containers[i].Resources.Requests, limit.DefaultRequest)
			}
		}
	}
	return pod
}

func fill(list *corev1.ResourceList, defaults corev1.ResourceList) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	for name, quantity := range defaults {
		if _, stated := (*list)[name]; !stated {
			(*list)[name] = quantity
		}
	}
}

// violations returns the rules for which LimitRanger refuses a pod with defaults (kubernetes
// plugin/pkg/admission/limitranger PodValidateLimitFunc; TestLimitRangesAsTheAPIServer compares the two).
func violations(ranges []corev1.LimitRange, pod *corev1.Pod) []Violation {
	var found []Violation
	for _, limit := range items(ranges, corev1.LimitTypeContainer) {
		for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range containers {
				found = append(found, limit.violations(containers[i].Resources.Requests, containers[i].Resources.Limits)...)
			}
		}
	}
	options := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
	for _, limit := range items(ranges, corev1.LimitTypePod) {
		found = append(found, limit.violations(resourcehelper.PodRequests(pod, options), resourcehelper.PodLimits(pod, options))...)
	}
	return found
}

// item is an item of a LimitRange.
type item struct {
	of string
	corev1.LimitRangeItem
}

func items(ranges []corev1.LimitRange, of corev1.LimitType) []item {
	var found []item
	for i := range ranges {
		for _, one := range ranges[i].Spec.Limits {
			if one.Type == of {
				found = append(found, item{ranges[i].Name, one})
			}
		}
	}
	return found
}

func (l item) violations(requests, limits corev1.ResourceList) []Violation {
	var found []Violation
	for _, rule := range []struct {
		name   string
		bounds corev1.ResourceList
		broken func(bound resource.Quantity, request, limit stated) string
	}{{"min", l.Min, belowMin}, {"max", l.Max, aboveMax}, {"maxLimitRequestRatio", l.MaxLimitRequestRatio, aboveRatio}, {"default", l.Default, belowRequest}} {
		for _, name := range slices.Sorted(maps.Keys(rule.bounds)) {
			bound := rule.bounds[name]
			if why := rule.broken(bound, of(requests, name), of(limits, name)); why != "" {
				text := fmt.Sprintf("%s of %s per %s is %s, but %s", rule.name, name, l.Type, bound.String(), why)
				found = append(found, Violation{l.of, l.Type, name, rule.name, text})
			}
		}
	}
	return found
}

// stated is a quantity of a list, and whether the list has it.
type stated struct {
	resource.Quantity
	ok bool
}

func of(list corev1.ResourceList, name corev1.ResourceName) stated {
	found, ok := list[name]
	return stated{found, ok}
}

// belowMin returns how a request or a limit is below the bound; empty if none is.
func belowMin(bound resource.Quantity, request, limit stated) string {
	values := scaled(bound, request, limit)
	switch {
	case !request.ok:
		return "no request is stated"
	case values.request < values.bound:
		return "the request is " + request.String()
	case limit.ok && values.limit < values.bound:
		return "the limit is " + limit.String()
	}
	return ""
}

func aboveMax(bound resource.Quantity, request, limit stated) string {
	values := scaled(bound, request, limit)
	switch {
	case !limit.ok:
		return "no limit is stated"
	case values.limit > values.bound:
		return "the limit is " + limit.String()
	case request.ok && values.request > values.bound:
		return "the request is " + request.String()
	}
	return ""
}

func aboveRatio(bound resource.Quantity, request, limit stated) string {
	values := scaled(resource.Quantity{}, request, limit)
	switch {
	case !request.ok || values.request == 0:
		return "no request is stated"
	case !limit.ok || values.limit == 0:
		return "no limit is stated"
	case float64(values.limit)/float64(values.request)*1000 > float64(bound.MilliValue()):
		return fmt.Sprintf("the limit is %s and the request %s", limit.String(), request.String())
	}
	return ""
}

// belowRequest returns how a request is above the limit, which the default set: the API server validates that after LimitRanger.
func belowRequest(_ resource.Quantity, request, limit stated) string {
	if request.ok && limit.ok && request.Cmp(limit.Quantity) > 0 {
		return "the request is " + request.String()
	}
	return ""
}

// scaled returns quantities to compare as the plugin does: in thousandths, rounded up, or in wholes if one is too large.
func scaled(bound resource.Quantity, request, limit stated) (values struct{ bound, request, limit int64 }) {
	values.bound, values.request, values.limit = bound.Value(), request.Value(), limit.Value()
	if max(values.bound, values.request, values.limit) <= resource.MaxMilliValue {
		values.bound, values.request, values.limit = bound.MilliValue(), request.MilliValue(), limit.MilliValue()
	}
	return values
}
