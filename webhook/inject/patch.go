package inject

import (
	"encoding/json"
	"fmt"
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
// nobody, and the status annotation.
func patchFor(cfg Config, pod *corev1.Pod, sidecar corev1.Container) ([]Operation, []string) {
	var patch []Operation
	if len(pod.Spec.InitContainers) == 0 {
		// "-" needs an array to append to. It may be missing, null or empty:
		// adding it whole is right for all three.
		patch = append(patch, add([]corev1.Container{sidecar}, "spec", "initContainers"))
	} else {
		patch = append(patch, add(sidecar, "spec", "initContainers", "-"))
	}
	version := cfg.SidecarVersion()
	if !roomForStatus(version, pod) {
		return patch, []string{warning("the pod's annotations are full: %s is left out", AnnotationStatus)}
	}
	// The map is there: a pod without annotations has no kubevirt.io/domain.
	return append(patch, add(version, "metadata", "annotations", AnnotationStatus)), nil
}

// roomForStatus keeps us from having a pod rejected whose annotations are just
// below the API server's limit of 256 KiB for all of them.
func roomForStatus(version string, pod *corev1.Pod) bool {
	total := len(AnnotationStatus) + len(version)
	for key, value := range pod.Annotations {
		if key != AnnotationStatus {
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
