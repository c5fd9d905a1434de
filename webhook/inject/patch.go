package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// Operation is one operation of a JSON patch (RFC 6902). We only ever add.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func add(value any, path ...string) Operation {
	// RFC 6901, section 3: "~" first, or the "~" of "~1" would be escaped again.
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	pointer := ""
	for _, step := range path {
		pointer += "/" + escape.Replace(step)
	}
	return Operation{Op: "add", Path: pointer, Value: value}
}

// patchFor adds the sidecar before all other init containers, its volume, and our annotations.
//
// First, and not last: when a pod's own containers have ended, the kubelet judges by the last
// init container whether the pod was initialized, and only then ends the pod (kuberuntime,
// computeInitContainerActions). A last sidecar that the kubelet holds back at that moment
// (CrashLoopBackOff, up to 5 minutes) would delay the pod's end by as much.
func patchFor(cfg Config, pod *Pod, sidecar corev1.Container) (patch []Operation, warnings []string) {
	ours := nameAnnotation(pod)
	complete := maps.Clone(ours)
	complete[AnnotationStatus] = cfg.SidecarVersion()
	if list, listed := safeVolumes(pod); listed {
		complete[annotationSafeVolumes] = list
	}
	if roomFor(complete, pod) {
		ours = complete
	} else {
		warnings = append(warnings, warning("the pod's annotations are full: %s is left out", AnnotationStatus))
	}
	if len(pod.Spec.InitContainers) == 0 {
		// An element needs an array, which may be missing, null or empty: adding the whole array is
		// right for all three.
		patch = append(patch, add([]corev1.Container{sidecar}, "spec", "initContainers"))
	} else {
		patch = append(patch, add(sidecar, "spec", "initContainers", "0"))
	}
	// The list exists: a pod without volumes has no libvirt-runtime.
	patch = append(patch, add(volume(), "spec", "volumes", "-"))
	if len(pod.Annotations) == 0 {
		// As above: the map may be missing, null or empty.
		return append(patch, add(ours, "metadata", "annotations")), warnings
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		patch = append(patch, add(ours[key], "metadata", "annotations", key))
	}
	return patch, warnings
}

// nameAnnotation is the annotation that the sidecar needs: the VM's name, which replaces what
// the VM's owner wrote there.
func nameAnnotation(pod *Pod) map[string]string {
	name, _ := pod.vmiName()
	return map[string]string{contract.AnnotationVMI: name}
}

// maxSafeVolumes bounds the list that we copy into a patch, in bytes: in JSON and base64 it takes
// up to eight times as many. It holds the names of some two hundred volumes.
const maxSafeVolumes = 4 << 10

// safeVolumes returns the pod's list of local volumes that do not keep the cluster autoscaler
// from emptying a node, with ours added. A pod without a list gets none: KubeVirt's own
// emptyDirs already keep it on its node (cluster-autoscaler, utils/drain
// HasBlockingLocalStorage: every local volume must be in the list). A list of more than
// maxSafeVolumes stays as it is.
func safeVolumes(pod *Pod) (list string, listed bool) {
	list = pod.Annotations[annotationSafeVolumes]
	if list == "" || len(list) > maxSafeVolumes || strings.Contains(","+list+",", ","+VolumeName+",") {
		return "", false
	}
	return list + "," + VolumeName, true
}

// roomFor reports whether the pod's annotations with ours are within the API server's limit for
// all of them, 256 KiB: it rejects a pod with more.
func roomFor(ours map[string]string, pod *Pod) bool {
	total := 0
	for key, value := range ours {
		total += len(key) + len(value)
	}
	for key, value := range pod.Annotations {
		if _, replaced := ours[key]; !replaced {
			total += len(key) + len(value)
		}
	}
	return total <= metavalidation.TotalAnnotationSizeLimitB
}

// Apply applies a patch to a pod's JSON as the API server does. Unknown fields stay, and so does
// the order of arrays and of an object's members.
func Apply(podJSON []byte, patch []Operation) ([]byte, error) {
	encoded, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	decoded, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, fmt.Errorf("decode patch: %w", err)
	}
	options := jsonpatch.NewApplyOptions()
	options.EscapeHTML = false
	patched, err := decoded.ApplyWithOptions(podJSON, options)
	if err != nil {
		return nil, fmt.Errorf("apply patch to pod: %w", err)
	}
	return patched, nil
}
