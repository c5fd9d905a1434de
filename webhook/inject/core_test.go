package inject_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"pgregory.net/rapid"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestPodReadsAsCore(t *testing.T) {
	for _, name := range inputs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, podJSON, pod := readInput(t, name)
			require.JSONEq(t, marshal(t, inject.FromCore(decoded(t, podJSON))), marshal(t, pod))
		})
	}
}

// FuzzParsePod: a pod that the API server's type and ours both accept, both read alike.
func FuzzParsePod(f *testing.F) {
	for _, name := range inputs(f) {
		_, podJSON, _ := readInput(f, name)
		f.Add(podJSON)
	}
	f.Fuzz(func(t *testing.T, podJSON []byte) {
		if slowQuantity.Match(podJSON) {
			return // corev1 would not return
		}
		pod, err := inject.ParsePod(podJSON)
		if err != nil {
			return
		}
		core := &corev1.Pod{}
		if kjson.UnmarshalCaseSensitivePreserveInts(podJSON, core) != nil {
			return
		}
		require.JSONEq(t, marshal(t, inject.FromCore(core)), marshal(t, pod))
	})
}

// What a few bytes can do to resource.ParseQuantity and its sums is refused before it is called.
func TestQuantities(t *testing.T) {
	for text, want := range map[string]string{
		`"1"`: "1", `1`: "1", `1.5`: "1500m", `"1e3"`: "1e3", `" 2Ki "`: "2Ki", `"1E"`: "1E", `"1E2"`: "100", `"-1n"`: "-1n",
		`"9223372036854775807"`: "9223372036854775807", `"1e-99"`: "1e-9",
	} {
		var q inject.Quantity
		require.NoError(t, json.Unmarshal([]byte(text), &q), text)
		require.True(t, q.Stated)
		require.Equal(t, want, q.String(), text)
	}
	for _, text := range []string{`"1e-2147483647"`, `1e500`, `1e2147483647`, `"1e+100"`, `"1E-100"`, `"` + strings.Repeat("1", 41) + `"`,
		`"0.` + strings.Repeat("0", 40) + `1"`, `""`, `"1.2.3"`, `"x"`, `"\u0031"`, `true`, `{}`, `["1"]`, `"1 1"`, `"1\n"`} {
		var q inject.Quantity
		require.Error(t, json.Unmarshal([]byte(text), &q), text)
		_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"resources":{"requests":{"cpu":` + text + `}}}]}}`))
		require.Error(t, err, text)
		require.Less(t, len(err.Error()), 256, "it goes to the log")
	}
	// Of other resources nothing is read.
	_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"resources":{"limits":{"x":"1e-2147483647"}}}]}}`))
	require.NoError(t, err)
}

// The room in pod-level resources is counted as Kubernetes does.
func TestPodLevelRoom(t *testing.T) {
	seen := map[inject.Reason]int{}
	rapid.Check(t, func(t *rapid.T) {
		random := randomPod(t)
		random["spec"].(object)["resources"] = resources(t)
		delete(random["metadata"].(object), "annotations")
		podJSON, err := json.Marshal(random)
		require.NoError(t, err)
		pod, err := inject.ParsePod(podJSON)
		require.NoError(t, err)
		reason := inject.Decide(testConfig(), pod).Reason
		seen[reason]++
		if reason == inject.Injected || reason == inject.PodLevelResources {
			require.Equal(t, hasRoom(decoded(t, podJSON)), reason == inject.Injected)
		}
	})
	require.Positive(t, seen[inject.Injected])
	require.Positive(t, seen[inject.PodLevelResources])
}

func hasRoom(pod *corev1.Pod) bool {
	cfg, always := testConfig(), corev1.ContainerRestartPolicyAlways
	// First, as the patch has it: ordinary init containers run beside it.
	pod.Spec.InitContainers = slices.Insert(pod.Spec.InitContainers, 0, corev1.Container{RestartPolicy: &always, Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: cfg.CPU, corev1.ResourceMemory: cfg.Memory},
	}})
	sums := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, list := range []corev1.ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			sum := sums[name]
			if room, ok := list[name]; ok && sum.Cmp(room) > 0 {
				return false
			}
		}
	}
	return true
}
