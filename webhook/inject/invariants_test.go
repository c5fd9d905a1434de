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

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// safeVolumes is the one annotation of others that we add to.
const safeVolumes = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

// checkDecision holds for every pod whatever: goldens, random pods and fuzzed
// ones all go through it.
func checkDecision(t require.TestingT, cfg inject.Config, podJSON []byte, pod *inject.Pod) inject.Decision {
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

func checkInjected(t require.TestingT, cfg inject.Config, podJSON []byte, before *inject.Pod, decision inject.Decision) {
	for _, op := range decision.Patch {
		require.Equal(t, "add", op.Op)
	}
	patchedJSON, err := inject.Apply(podJSON, decision.Patch)
	require.NoError(t, err, "the patch does not apply")
	after, err := inject.ParsePod(patchedJSON)
	require.NoError(t, err, "the patched pod does not parse")

	sidecars := after.Spec.InitContainers
	require.Len(t, sidecars, len(before.Spec.InitContainers)+1)
	require.Equal(t, inject.ContainerName, sidecars[0].Name, "the sidecar is not the first init container")
	require.Equal(t, canonical(t, podJSON), canonical(t, patchedJSON), "more has changed than the sidecar and the status")

	checkReinvoked(t, cfg, patchedJSON)

	name, named := after.Annotations[contract.AnnotationVMI]
	require.True(t, named, "the sidecar cannot name its VM")
	require.Equal(t, controllerOf(before).Name, name)

	coreBefore := &corev1.Pod{}
	if kjson.UnmarshalCaseSensitivePreserveInts(podJSON, coreBefore) != nil {
		return // no API server would send it: a wrong type in what Decide does not read
	}
	coreAfter := decoded(t, patchedJSON)
	require.Equal(t, computePodQOS(coreBefore), computePodQOS(coreAfter), "QoS class")
	checkPodSecurity(t, coreBefore, coreAfter)
	checkNoToken(t, coreAfter)
	if len(strictErrors(t, podJSON)) == 0 {
		require.Empty(t, strictErrors(t, patchedJSON), "the patched pod does not decode strictly")
	}
}

// checkReinvoked: a webhook after us may move our container to any place among the init containers and take our image
// from a mirror (Kyverno, image rewriters). Asked again (reinvocationPolicy IfNeeded), we add nothing.
func checkReinvoked(t require.TestingT, cfg inject.Config, patchedJSON []byte) {
	var pod map[string]any
	require.NoError(t, json.Unmarshal(patchedJSON, &pod))
	spec := pod["spec"].(map[string]any)
	containers := spec["initContainers"].([]any)
	ours, others := containers[len(containers)-1].(map[string]any), containers[:len(containers)-1]
	for place := range containers {
		spec["initContainers"] = slices.Insert(slices.Clone(others), place, any(ours))
		moved, err := json.Marshal(pod)
		require.NoError(t, err)
		after, err := inject.ParsePod(moved)
		require.NoError(t, err)
		again := inject.Decide(cfg, after)
		require.Equal(t, inject.AlreadyInjected, again.Reason)
		require.Empty(t, again.Patch)
		require.Empty(t, again.Warnings)
		ours["image"] = "mirror.example/cache/hypervisor-exporter@sha256:" + sha
	}
}

func controllerOf(pod *inject.Pod) inject.OwnerReference {
	for _, owner := range pod.OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			return owner
		}
	}
	return inject.OwnerReference{}
}

// checkNoToken holds what keeps the API server from mounting a token into the sidecar (kubernetes
// plugin/pkg/admission/serviceaccount, mountServiceAccountToken): a mount at exactly this path.
func checkNoToken(t require.TestingT, after *corev1.Pod) {
	mounts := initContainer(after, inject.ContainerName).VolumeMounts
	at := slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
	})
	require.GreaterOrEqual(t, at, 0, "the API server would mount a token")
	require.True(t, mounts[at].ReadOnly)
	volume := slices.IndexFunc(after.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mounts[at].Name })
	require.NotNil(t, after.Spec.Volumes[volume].EmptyDir, "not an empty directory of ours")
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
// and without what is ours: our init container, our volume and our annotations. A list of
// init containers, or annotations, that are missing, null or empty are the same.
func canonical(t require.TestingT, podJSON []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(podJSON))
	decoder.UseNumber()
	var pod map[string]any
	require.NoError(t, decoder.Decode(&pod))
	if metadata, ok := pod["metadata"].(map[string]any); ok {
		if metadata["annotations"] == nil {
			metadata["annotations"] = map[string]any{}
		}
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, inject.AnnotationStatus)
			delete(annotations, contract.AnnotationVMI)
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

// patched is the pod with the patch, as the API server decodes it.
func patched(t require.TestingT, podJSON []byte, patch []inject.Operation) *corev1.Pod {
	patchedJSON, err := inject.Apply(podJSON, patch)
	require.NoError(t, err)
	return decoded(t, patchedJSON)
}

func decoded(t require.TestingT, podJSON []byte) *corev1.Pod {
	pod := &corev1.Pod{}
	require.NoError(t, kjson.UnmarshalCaseSensitivePreserveInts(podJSON, pod))
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
