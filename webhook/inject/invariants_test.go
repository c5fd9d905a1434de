package inject_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// safeVolumes is the one annotation of others that we add to.
const safeVolumes = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

// checkDecision checks what holds for every pod: goldens, random pods and fuzzed ones.
func checkDecision(t require.TestingT, cfg inject.Config, podJSON []byte, pod *inject.Pod) inject.Decision {
	before := marshal(t, pod)
	decision := inject.Decide(cfg, pod)
	require.Equal(t, marshal(t, decision), marshal(t, inject.Decide(cfg, pod)), "not deterministic")
	require.Equal(t, before, marshal(t, pod), "the pod was changed")
	for _, w := range decision.Warnings {
		require.LessOrEqual(t, len(w), 256, "the API server would cut %q", w)
		for _, r := range w {
			require.True(t, r >= ' ' && r <= '~', "%q in %q is not fit for a header", r, w)
		}
	}
	explained := inject.Explain(cfg, pod)
	require.Contains(t, explained, ": "+decision.Reason.String()+": "+decision.Reason.Sentence()+"\n")
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
	class := computePodQOS(coreBefore)
	require.Equal(t, class, computePodQOS(coreAfter), "QoS class")
	require.Equal(t, class == corev1.PodQOSGuaranteed, strings.Contains(inject.Explain(cfg, before), "stays Guaranteed"))
	for _, level := range podSecurityLevels {
		if passes(t, level, coreBefore).Allowed {
			result := passes(t, level, coreAfter)
			require.True(t, result.Allowed, "no longer %s: %s", level, result.ForbiddenDetail())
		}
	}
	checkRequests(t, coreBefore, coreAfter)
	checkNoToken(t, coreAfter)
	if len(strictErrors(t, podJSON)) == 0 {
		require.Empty(t, strictErrors(t, patchedJSON), "the patched pod does not decode strictly")
	}
}

// checkReinvoked: a webhook after us may move our container to any place among the init containers
// and take our image from a mirror (Kyverno, image rewriters). Called again (reinvocationPolicy
// IfNeeded), we add nothing.
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

// checkRequests: the scheduler gets the same pod as before, and the sidecar's request.
func checkRequests(t require.TestingT, before, after *corev1.Pod) {
	sidecar := initContainer(after, inject.ContainerName).Resources
	require.Equal(t, sidecar.Limits.Memory(), sidecar.Requests.Memory())
	require.GreaterOrEqual(t, sidecar.Limits.Cpu().MilliValue(), sidecar.Requests.Cpu().MilliValue())
	require.Len(t, sidecar.Limits, 2)
	require.Len(t, sidecar.Requests, 2, "cpu and memory alone")
	options := resourcehelper.PodResourcesOptions{}
	want, got := resourcehelper.AggregateContainerRequests(before, options), resourcehelper.AggregateContainerRequests(after, options)
	for resource, own := range sidecar.Requests {
		sum := want[resource]
		sum.Add(own)
		want[resource] = sum
	}
	require.Len(t, got, len(want))
	for resource, quantity := range want {
		require.Zero(t, quantity.Cmp(got[resource]), "%s: want %s, got %v", resource, quantity.String(), got[resource])
	}
}

// checkNoToken checks what keeps the API server from mounting a token into the sidecar (kubernetes
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

// canonical is a pod's JSON with sorted members, every number as it was written, and without what
// is ours: our init container, our volume and our annotations. Init containers, or annotations,
// that are missing, null or empty are the same.
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
		// Upstream checks pod-level limits only if there are any.
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

var podSecurityLevels = []psapi.Level{psapi.LevelBaseline, psapi.LevelRestricted}

// podSecurity has the admission plugin's own checks. It is made once: that takes longer than using it.
var podSecurity = sync.OnceValues(func() (policy.Evaluator, error) {
	return policy.NewEvaluator(policy.DefaultChecks(), nil)
})

func passes(t require.TestingT, level psapi.Level, pod *corev1.Pod) policy.AggregateCheckResult {
	evaluator, err := podSecurity()
	require.NoError(t, err)
	lv := psapi.LevelVersion{Level: level, Version: psapi.LatestVersion()}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(lv, &pod.ObjectMeta, &pod.Spec))
}
