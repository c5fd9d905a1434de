package inject_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// safeVolumes is the one annotation of others that we add to.
const safeVolumes = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

// checkDecision holds for every pod whatever: goldens, random pods and fuzzed
// ones all go through it.
func checkDecision(t require.TestingT, cfg inject.Config, podJSON []byte, pod *corev1.Pod) inject.Decision {
	decision := inject.Decide(cfg, pod)
	require.Equal(t, marshal(t, decision), marshal(t, inject.Decide(cfg, pod)), "not deterministic")
	checkWarnings(t, decision.Warnings)
	if decision.Injected() {
		checkInjected(t, cfg, podJSON, pod, decision)
	} else {
		require.Empty(t, decision.Patch, "a pod that is left as it is has no patch")
	}
	return decision
}

func checkInjected(t require.TestingT, cfg inject.Config, podJSON []byte, before *corev1.Pod, decision inject.Decision) {
	for _, op := range decision.Patch {
		require.Equal(t, "add", op.Op)
	}
	patchedJSON, err := inject.Apply(podJSON, decision.Patch)
	require.NoError(t, err, "the patch does not apply")
	after, err := inject.ParsePod(patchedJSON)
	require.NoError(t, err, "the patched pod does not parse")

	sidecars := after.Spec.InitContainers
	require.Len(t, sidecars, len(before.Spec.InitContainers)+1)
	require.Equal(t, inject.ContainerName, sidecars[len(sidecars)-1].Name, "the sidecar is not the last init container")
	require.Equal(t, canonical(t, podJSON), canonical(t, patchedJSON), "more has changed than the sidecar and the status")

	again := inject.Decide(cfg, after)
	require.Equal(t, inject.AlreadyInjected, again.Reason)
	require.Empty(t, again.Patch)

	require.Equal(t, computePodQOS(before), computePodQOS(after), "QoS class")
	checkPodSecurity(t, before, after)
	if len(strictErrors(t, podJSON)) == 0 {
		require.Empty(t, strictErrors(t, patchedJSON), "the patched pod does not decode strictly")
	}
}

func checkWarnings(t require.TestingT, warnings []string) {
	for _, w := range warnings {
		require.LessOrEqual(t, len(w), 256, "the API server would cut %q", w)
		for _, r := range w {
			require.True(t, r >= ' ' && r <= '~', "%q in %q is not fit for a header", r, w)
		}
	}
}

// canonical is a pod's JSON with sorted members, every number as it was written,
// and without what is ours: our init container, our volume and our annotation. A list of
// init containers that is missing, null or empty is the same.
func canonical(t require.TestingT, podJSON []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(podJSON))
	decoder.UseNumber()
	var pod map[string]any
	require.NoError(t, decoder.Decode(&pod))
	if metadata, ok := pod["metadata"].(map[string]any); ok {
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, inject.AnnotationStatus)
			if list, ok := annotations[safeVolumes].(string); ok {
				annotations[safeVolumes] = strings.TrimSuffix(list, ","+inject.VolumeName)
			}
		}
	}
	if spec, ok := pod["spec"].(map[string]any); ok {
		var others []any
		list, _ := spec["initContainers"].([]any)
		for _, entry := range list {
			if c, ok := entry.(map[string]any); !ok || c["name"] != inject.ContainerName {
				others = append(others, entry)
			}
		}
		spec["initContainers"] = others
		if volumes, ok := spec["volumes"].([]any); ok {
			spec["volumes"] = slices.DeleteFunc(volumes, func(entry any) bool {
				volume, ok := entry.(map[string]any)
				return ok && volume["name"] == inject.VolumeName
			})
		}
	}
	return marshal(t, pod)
}

func marshal(t require.TestingT, value any) string {
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	return string(encoded)
}

func strictErrors(t require.TestingT, podJSON []byte) []error {
	strict, err := kjson.UnmarshalStrict(podJSON, &corev1.Pod{})
	require.NoError(t, err)
	return strict
}

func patched(t require.TestingT, podJSON []byte, patch []inject.Operation) *corev1.Pod {
	patchedJSON, err := inject.Apply(podJSON, patch)
	require.NoError(t, err)
	pod, err := inject.ParsePod(patchedJSON)
	require.NoError(t, err)
	return pod
}

func initContainer(pod *corev1.Pod, name string) *corev1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	panic(fmt.Sprintf("no init container %s", name))
}
