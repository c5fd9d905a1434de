package inject

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// isBestEffort is kubernetes pkg/apis/core/v1/helper/qos ComputePodQOS, as far
// as it says BestEffort. A container with requests equal to limits leaves
// Guaranteed and Burstable pods what they are; only BestEffort would change.
func isBestEffort(pod *corev1.Pod) bool {
	if pod.Spec.Resources != nil {
		return !statesCompute(*pod.Spec.Resources)
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			if statesCompute(containers[i].Resources) {
				return false
			}
		}
	}
	return true
}

func statesCompute(r corev1.ResourceRequirements) bool {
	for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q := list[name]; q.Sign() > 0 {
				return true
			}
		}
	}
	return false
}

// refuseSize keeps a pod with pod-level resources (KEP-2837) valid: the API
// server rejects it where the containers' requests add up to more than the
// pod's (validation.go validatePodResourceConsistency). It has by then set
// missing pod requests to the sum of the containers' (defaults.go
// defaultPodRequests), which leaves no room at all; we do not raise them, since
// they are somebody's decision about the whole pod.
func refuseSize(pod *corev1.Pod, s size) Reason {
	if pod.Spec.Resources == nil {
		return Injected
	}
	if hasAbsurdQuantity(pod) {
		return PodLevelResources
	}
	// A shallow copy: only the slice header of initContainers is replaced.
	with := corev1.Pod{Spec: pod.Spec}
	always := corev1.ContainerRestartPolicyAlways
	with.Spec.InitContainers = append(pod.Spec.InitContainers[:len(pod.Spec.InitContainers):len(pod.Spec.InitContainers)],
		corev1.Container{Name: ContainerName, RestartPolicy: &always, Resources: s.resources()})
	sums := resourcehelper.AggregateContainerRequests(&with, resourcehelper.PodResourcesOptions{})
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		sum := sums[name]
		for _, list := range []corev1.ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
			// Limits too: requests that are not set yet will be, from the sum,
			// and must not be above them.
			if room, ok := list[name]; ok && sum.Cmp(room) > 0 {
				return PodLevelResources
			}
		}
	}
	return Injected
}

// hasAbsurdQuantity says whether adding up the pod's quantities could hang or
// panic. A mutating webhook sees pods before the API server validates them, and
// resource.Quantity takes seconds to add 1e5000000 and divides by zero when it
// compares 1e2147483647 (apimachinery v0.37.2).
func hasAbsurdQuantity(pod *corev1.Pod) bool {
	if absurd(*pod.Spec.Resources) {
		return true
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			if absurd(containers[i].Resources) {
				return true
			}
		}
	}
	return false
}

func absurd(r corev1.ResourceRequirements) bool {
	const exa = 18 // a 64-bit number of bytes has at most 19 digits
	for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
		for _, q := range list {
			_, exponent, found := strings.Cut(q.String(), "e")
			if power, err := strconv.Atoi(exponent); found && (err != nil || power > exa || power < -exa) {
				return true
			}
		}
	}
	return false
}
