package inject

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

// isBestEffort is kubernetes pkg/apis/core/v1/helper/qos ComputePodQOS, as far
// as it says BestEffort. A container with requests equal to limits leaves
// Guaranteed and Burstable pods what they are; only BestEffort would change.
func isBestEffort(pod *Pod) bool {
	if pod.Spec.Resources != nil {
		return !statesCompute(*pod.Spec.Resources)
	}
	for _, containers := range [][]Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			if statesCompute(containers[i].Resources) {
				return false
			}
		}
	}
	return true
}

// isGuaranteed says whether the pod's QoS class is Guaranteed: each container, or the pod as a whole, limits cpu and
// memory to what it requests. A request that is missing will be set to the limit (API server, defaults.go).
func isGuaranteed(pod *Pod) bool {
	if pod.Spec.Resources != nil {
		return requestsItsLimits(*pod.Spec.Resources)
	}
	others := func(c Container) bool { return !requestsItsLimits(c.Resources) }
	return !slices.ContainsFunc(pod.Spec.Containers, others) && !slices.ContainsFunc(pod.Spec.InitContainers, others)
}

func requestsItsLimits(r Resources) bool {
	if r.Limits == nil || r.Limits.CPU.Sign() <= 0 || r.Limits.Memory.Sign() <= 0 {
		return false
	}
	same := func(request, limit Quantity) bool { return !request.Stated || request.Cmp(limit.Quantity) == 0 }
	return r.Requests == nil || same(r.Requests.CPU, r.Limits.CPU) && same(r.Requests.Memory, r.Limits.Memory)
}

func statesCompute(r Resources) bool {
	for _, list := range []*ResourceList{r.Requests, r.Limits} {
		if list != nil && (list.CPU.Sign() > 0 || list.Memory.Sign() > 0) {
			return true
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
func refuseSize(pod *Pod, s size) Reason {
	if pod.Spec.Resources == nil {
		return Injected
	}
	cpu := needed(pod, func(l *ResourceList) Quantity { return l.CPU }, s.cpu)
	memory := needed(pod, func(l *ResourceList) Quantity { return l.Memory }, s.memory)
	for _, room := range []*ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
		// Limits too: requests that are not set yet will be, from the sum,
		// and must not be above them.
		if room != nil && (exceeds(cpu, room.CPU) || exceeds(memory, room.Memory)) {
			return PodLevelResources
		}
	}
	return Injected
}

func exceeds(sum resource.Quantity, room Quantity) bool {
	return room.Stated && sum.Cmp(room.Quantity) > 0
}

// needed is what the pod's containers and a first sidecar of the given size request of one
// resource: for what runs on, or for an init container beside the sidecars before it, whichever
// is more (k8s.io/component-helpers/resource AggregateContainerRequests).
func needed(pod *Pod, of func(*ResourceList) Quantity, sidecar resource.Quantity) resource.Quantity {
	request := func(c *Container) resource.Quantity {
		if c.Resources.Requests == nil {
			return resource.Quantity{}
		}
		return of(c.Resources.Requests).Quantity
	}
	sidecars := sidecar.DeepCopy()
	var running, most resource.Quantity
	for i := range pod.Spec.Containers {
		running.Add(request(&pod.Spec.Containers[i]))
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == restartAlways {
			sidecars.Add(request(c))
			continue
		}
		starting := sidecars.DeepCopy()
		starting.Add(request(c))
		if starting.Cmp(most) > 0 {
			most = starting
		}
	}
	running.Add(sidecars)
	if most.Cmp(running) > 0 {
		return most
	}
	return running
}
