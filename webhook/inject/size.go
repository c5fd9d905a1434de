package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// size is what the sidecar of one pod may use. Request and limit are the same,
// which keeps a Guaranteed pod Guaranteed (CPU pinning and NUMA hang on it), but
// for the limit of CPU in a pod that cannot be Guaranteed.
type size struct {
	cpu, cpuLimit, memory resource.Quantity
	// goMemory is the soft limit given to the Go runtime, in bytes.
	goMemory int64
}

type bounds struct{ least, most resource.Quantity }

var (
	// The upper bound is below one CPU on purpose: with the static CPU manager
	// policy a container of a Guaranteed pod that asks for whole CPUs gets them
	// for itself, taken from the VM's node.
	cpuBounds = bounds{resource.MustParse("1m"), resource.MustParse("500m")}
	// The lower bound is where every runc starts a container, or the VM does not start. A runc that copies itself into
	// memory inside the container (1.1.15, and any 1.1 that cannot mount) needs its own size and 4 MiB: 19 MiB
	// measured with a binary of 15 MB; 22.3 MiB in runc issue 3986. docs/operations.md has the table.
	memoryBounds = bounds{resource.MustParse("24Mi"), resource.MustParse("256Mi")}
)

func (b bounds) String() string { return b.least.String() + " to " + b.most.String() }

func validateBounds(what string, q resource.Quantity, b bounds) error {
	if q.Cmp(b.least) < 0 || q.Cmp(b.most) > 0 {
		return fmt.Errorf("%s %s: want %s", what, q.String(), b)
	}
	return nil
}

// sizeFor is the configured size, changed by the pod's annotations.
func sizeFor(cfg Config, pod *Pod) (size, []string) {
	cpu, cpuWarnings := override(pod, AnnotationCPU, cfg.CPU, cpuBounds)
	memory, memoryWarnings := override(pod, AnnotationMemory, cfg.Memory, memoryBounds)
	// In thousandths (the scale of a CPU) and in whole bytes, rounded up, which
	// is what the scheduler and the kubelet make of them.
	s := size{
		cpu:      *resource.NewMilliQuantity(cpu.MilliValue(), resource.DecimalSI),
		cpuLimit: *resource.NewMilliQuantity(cpu.MilliValue(), resource.DecimalSI),
		memory:   *resource.NewQuantity(memory.Value(), memory.Format),
		// Bounded memory (at most 2^28) times bounded GoMemory: no overflow.
		goMemory: memory.Value() * cfg.GoMemory.Value() / cfg.Memory.Value(),
	}
	if _, asked := pod.Annotations[AnnotationCPU]; !asked && !limitsCPU(pod) {
		s.cpuLimit = cpuBounds.most.DeepCopy()
	}
	return s, append(cpuWarnings, memoryWarnings...)
}

// limitsCPU says whether the VM, or its pod as a whole, has a limit of CPU. If
// not, the pod is not Guaranteed, and no quota of limits, LimitRange maximum or
// ratio of containers is in force that a higher limit of ours could violate (each
// of them rejects a container without a limit). A LimitRange of type Pod may refuse
// it: it adds up the limits that there are, and guest-console-log has one. Package
// refusals is for that.
//
// So the sidecar's is as high as it may be: runc starts a container within its limit.
// At 10m the sidecar's cgroup was throttled for 1.8 s until it served (with 54 ms of
// CPU used), and the VM's own container starts after it.
func limitsCPU(pod *Pod) bool {
	limits := find(pod.Spec.Containers, computeContainer).Resources.Limits
	return limits != nil && limits.CPU.Stated || pod.Spec.Resources != nil
}

// override reads a quantity from an annotation. Nonsense gets the default;
// a proper quantity out of bounds gets the nearer bound; both with a warning.
func override(pod *Pod, key string, standard resource.Quantity, b bounds) (resource.Quantity, []string) {
	value, ok := pod.Annotations[key]
	if !ok {
		return standard, nil
	}
	q, err := parsePlain(value)
	switch {
	case err != nil:
		return standard, []string{warning("annotation %s=%s is no quantity from %s; %s is used", key, quote(value), b, standard.String())}
	case q.Cmp(b.least) < 0:
		return b.least, []string{warning("annotation %s=%s is out of bounds (%s); %s is used", key, quote(value), b, b.least.String())}
	case q.Cmp(b.most) > 0:
		return b.most, []string{warning("annotation %s=%s is out of bounds (%s); %s is used", key, quote(value), b, b.most.String())}
	default:
		return q, nil
	}
}

func (s size) resources() corev1.ResourceRequirements {
	list := func(cpu resource.Quantity) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: cpu.DeepCopy(), corev1.ResourceMemory: s.memory.DeepCopy()}
	}
	// No ephemeral-storage: the root is read-only and nothing is written, and a
	// request for it could only keep the VM off a node.
	return corev1.ResourceRequirements{Requests: list(s.cpu), Limits: list(s.cpuLimit)}
}

// goMemoryLimit is the soft limit as GOMEMLIMIT reads it, in whole MiB where it is.
func (s size) goMemoryLimit() string {
	const mib = 1 << 20
	if s.goMemory%mib == 0 {
		return fmt.Sprintf("%dMiB", s.goMemory/mib)
	}
	return fmt.Sprintf("%dB", s.goMemory)
}
