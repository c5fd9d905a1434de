package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// computePodQOS is kubernetes pkg/apis/core/v1/helper/qos ComputePodQOS with the
// feature PodLevelResources; the module k8s.io/kubernetes is too heavy to import.
func computePodQOS(pod *corev1.Pod) corev1.PodQOSClass {
	parts := []corev1.ResourceRequirements{}
	if pod.Spec.Resources != nil {
		parts = append(parts, *pod.Spec.Resources)
	} else {
		for _, c := range append(append([]corev1.Container{}, pod.Spec.Containers...), pod.Spec.InitContainers...) {
			parts = append(parts, c.Resources)
		}
	}
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	guaranteed := true
	for _, part := range parts {
		addCompute(requests, part.Requests)
		// Upstream looks at pod-level limits only where there are any.
		if found := addCompute(limits, part.Limits); found < 2 && (pod.Spec.Resources == nil || len(part.Limits) > 0) {
			guaranteed = false
		}
	}
	if len(requests) == 0 && len(limits) == 0 {
		return corev1.PodQOSBestEffort
	}
	for name, request := range requests {
		if limit, ok := limits[name]; !ok || limit.Cmp(request) != 0 {
			guaranteed = false
		}
	}
	if guaranteed && len(requests) == len(limits) {
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// addCompute adds what of more is cpu or memory and above zero, and counts it.
func addCompute(sum, more corev1.ResourceList) int {
	found := 0
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q := more[name]; q.Sign() == 1 {
			found++
			total := q.DeepCopy()
			total.Add(sum[name])
			sum[name] = total
		}
	}
	return found
}

func TestInputsReachEveryQoSClass(t *testing.T) {
	classes := map[corev1.PodQOSClass]int{}
	for _, name := range inputs(t) {
		_, podJSON, pod := readInput(t, name)
		if inject.Decide(testConfig(), pod).Injected() {
			classes[computePodQOS(decoded(t, podJSON))]++
		}
	}
	require.Positive(t, classes[corev1.PodQOSGuaranteed])
	require.Positive(t, classes[corev1.PodQOSBurstable])
	require.Zero(t, classes[corev1.PodQOSBestEffort], "a BestEffort pod would become Burstable")
}
