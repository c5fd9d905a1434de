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
	}{{"min", l.Min}, {"max", l.Max}, {"maxLimitRequestRatio", l.MaxLimitRequestRatio}, {"default", l.Default}} {
		for _, name := range slices.Sorted(maps.Keys(rule.bounds)) {
			bound := rule.bounds[name]
			if why := broken(rule.name, bound, name, requests, limits); why != "" {
				text := fmt.Sprintf("%s of %s per %s is %s, but %s", rule.name, name, l.Type, bound.String(), why)
				found = append(found, Violation{l.of, l.Type, name, rule.name, text})
			}
		}
	}
	return found
}

// broken returns how requests and limits break a rule; empty if they do not.
func broken(rule string, bound resource.Quantity, name corev1.ResourceName, requests, limits corev1.ResourceList) string {
	request, requested := requests[name]
	limit, limited := limits[name]
	theRequest, theLimit := "the request is "+request.String(), "the limit is "+limit.String()
	switch rule {
	case "min":
		switch {
		case !requested:
			return "no request is stated"
		case request.Cmp(bound) < 0:
			return theRequest
		case limited && limit.Cmp(bound) < 0:
			return theLimit
		}
	case "max":
		switch {
		case !limited:
			return "no limit is stated"
		case limit.Cmp(bound) > 0:
			return theLimit
		case requested && request.Cmp(bound) > 0:
			return theRequest
		}
	case "maxLimitRequestRatio":
		switch {
		case request.IsZero():
			return "no request is stated"
		case limit.IsZero():
			return "no limit is stated"
		case float64(limit.MilliValue())/float64(request.MilliValue())*1000 > float64(bound.MilliValue()):
			return theLimit + " and the request " + request.String()
		}
	case "default": // it sets the limit; the API server compares the two after LimitRanger
		if requested && limited && request.Cmp(limit) > 0 {
			return theRequest
		}
	}
	return ""
}
