package inject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
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

// patchFor adds the sidecar after all other init containers, where it moves
// nobody, its volume, and the status annotation.
func patchFor(cfg Config, pod *corev1.Pod, sidecar corev1.Container) ([]Operation, []string) {
	var patch []Operation
	if len(pod.Spec.InitContainers) == 0 {
		// "-" needs an array to append to. It may be missing, null or empty:
		// adding it whole is right for all three.
		patch = append(patch, add([]corev1.Container{sidecar}, "spec", "initContainers"))
	} else {
		patch = append(patch, add(sidecar, "spec", "initContainers", "-"))
	}
	for _, volume := range cfg.Exposure.volumes() {
		// The list is there: a pod without volumes has no libvirt-runtime.
		patch = append(patch, add(volume, "spec", "volumes", "-"))
	}
	version := cfg.SidecarVersion()
	ours := map[string]string{AnnotationStatus: version}
	safeVolumes, listed := safeVolumes(cfg, pod)
	if listed {
		ours[annotationSafeVolumes] = safeVolumes
	}
	if !roomFor(ours, pod) {
		return patch, []string{warning("the pod's annotations are full: %s is left out", AnnotationStatus)}
	}
	if listed {
		patch = append(patch, add(safeVolumes, "metadata", "annotations", annotationSafeVolumes))
	}
	// The map is there: a pod without annotations has no kubevirt.io/domain.
	return append(patch, add(version, "metadata", "annotations", AnnotationStatus)), nil
}

// safeVolumes is the pod's list of local volumes that do not keep the cluster
// autoscaler from emptying a node, with ours added. A pod without a list has none
// made: KubeVirt's own emptyDirs keep it where it is already (cluster-autoscaler,
// utils/drain HasBlockingLocalStorage: every local volume must be in the list).
func safeVolumes(cfg Config, pod *corev1.Pod) (list string, listed bool) {
	list = pod.Annotations[annotationSafeVolumes]
	volumes := cfg.Exposure.volumes()
	for _, volume := range volumes {
		if list != "" && !slices.Contains(strings.Split(list, ","), volume.Name) {
			return list + "," + volume.Name, true
		}
	}
	return "", false
}

// roomFor keeps us from having a pod rejected whose annotations are just
// below the API server's limit of 256 KiB for all of them.
func roomFor(ours map[string]string, pod *corev1.Pod) bool {
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

// Apply applies a patch to a pod's JSON as the API server does. Unknown fields
// stay, and so does the order of arrays and of an object's members.
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
