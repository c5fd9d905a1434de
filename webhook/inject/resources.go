package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// size is what the sidecar of one pod may use. Request and limit are the same, which keeps
// a Guaranteed pod Guaranteed (CPU pinning and NUMA depend on it), except for the CPU limit
// in a pod that cannot be Guaranteed.
type size struct {
	cpu, cpuLimit, memory resource.Quantity
	// goMemory is the soft limit for the Go runtime, in bytes.
	goMemory int64
}

type bounds struct{ least, most resource.Quantity }

var (
	// The upper bound is below one CPU on purpose: with the static CPU manager policy, a
	// container of a Guaranteed pod that asks for whole CPUs gets them for itself, taken from
	// the VM's node.
	cpuBounds = bounds{resource.MustParse("1m"), resource.MustParse("500m")}
	// The lower bound is where every runc starts a container; below it the VM may not start. A
	// runc that copies itself into memory inside the container (1.1.15, and any 1.1 that cannot
	// mount) needs its own size and 4 MiB: 19 MiB measured with a binary of 15 MB; 22.3 MiB in
	// runc issue 3986. docs/operations.md has the table.
	memoryBounds = bounds{resource.MustParse("24Mi"), resource.MustParse("256Mi")}
)

func (b bounds) String() string { return b.least.String() + " to " + b.most.String() }

func (b bounds) validate(what string, q resource.Quantity) error {
	if q.Cmp(b.least) < 0 || q.Cmp(b.most) > 0 {
		return fmt.Errorf("%s %s: want %s", what, q.String(), b)
	}
	return nil
}

// sizeFor returns the configured size with the changes that the pod's annotations ask for.
func sizeFor(cfg Config, pod *Pod) (size, []string) {
	cpu, cpuWarnings := override(pod, AnnotationCPU, cfg.CPU, cpuBounds)
	memory, memoryWarnings := override(pod, AnnotationMemory, cfg.Memory, memoryBounds)
	// In thousandths of a CPU and in whole bytes, rounded up, as the scheduler and the
	// kubelet do.
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

// limitsCPU reports whether the VM, or its pod as a whole, has a CPU limit. If not, the pod
// is not Guaranteed, and there is no quota of limits, LimitRange maximum or ratio for
// containers that a higher limit of ours could violate (each of them rejects a container
// without a limit). A LimitRange of type Pod may refuse it: it adds up the limits that
// there are, and guest-console-log has one. Package refusals handles that.
//
// The sidecar's limit is then as high as it may be, because runc starts a container within
// its limit: at 10m the sidecar's cgroup was throttled for 1.8 s until it served (with 54 ms
// of CPU used), and the VM's own container starts after it.
func limitsCPU(pod *Pod) bool {
	limits := pod.compute().Resources.Limits
	return limits != nil && limits.CPU.Stated || pod.Spec.Resources != nil
}

// override reads a quantity from an annotation. What is not a quantity gets the default, a
// quantity out of bounds gets the nearer bound; both with a warning.
func override(pod *Pod, key string, standard resource.Quantity, b bounds) (resource.Quantity, []string) {
	value, ok := pod.Annotations[key]
	if !ok {
		return standard, nil
	}
	q, err := parsePlain(value)
	problem, used := fmt.Sprintf("out of bounds (%s)", b), q
	switch {
	case err != nil:
		problem, used = "not a quantity from "+b.String(), standard
	case q.Cmp(b.least) < 0:
		used = b.least
	case q.Cmp(b.most) > 0:
		used = b.most
	default:
		return q, nil
	}
	return used, []string{warning("annotation %s=%s is %s; %s is used", key, quote(value), problem, used.String())}
}

func (s size) resources() corev1.ResourceRequirements {
	list := func(cpu resource.Quantity) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: cpu.DeepCopy(), corev1.ResourceMemory: s.memory.DeepCopy()}
	}
	// No ephemeral-storage: the root is read-only and nothing is written, and a request for it
	// could only keep the VM off a node.
	return corev1.ResourceRequirements{Requests: list(s.cpu), Limits: list(s.cpuLimit)}
}

// goMemoryLimit is the soft limit as GOMEMLIMIT takes it, in MiB if it is a whole number of them.
func (s size) goMemoryLimit() string {
	const mib = 1 << 20
	if s.goMemory%mib == 0 {
		return fmt.Sprintf("%dMiB", s.goMemory/mib)
	}
	return fmt.Sprintf("%dB", s.goMemory)
}

// isBestEffort reports whether the pod's QoS class is BestEffort (kubernetes
// pkg/apis/core/v1/helper/qos, ComputePodQOS). A container with requests equal to limits
// does not change Guaranteed or Burstable; only BestEffort would change.
func isBestEffort(pod *Pod) bool {
	if pod.Spec.Resources != nil {
		return !pod.Spec.Resources.stateCompute()
	}
	return !pod.anyContainer(func(c *Container) bool { return c.Resources.stateCompute() })
}

// isGuaranteed reports whether the pod's QoS class is Guaranteed: each container, or the pod
// as a whole, limits cpu and memory to what it requests.
func isGuaranteed(pod *Pod) bool {
	if pod.Spec.Resources != nil {
		return pod.Spec.Resources.requestTheirLimits()
	}
	return !pod.anyContainer(func(c *Container) bool { return !c.Resources.requestTheirLimits() })
}

func (r *Resources) stateCompute() bool {
	for _, list := range []*ResourceList{r.Requests, r.Limits} {
		if list != nil && (list.CPU.Sign() > 0 || list.Memory.Sign() > 0) {
			return true
		}
	}
	return false
}

// requestTheirLimits counts a missing request as equal: the API server sets it to the limit
// (defaults.go).
func (r *Resources) requestTheirLimits() bool {
	if r.Limits == nil || r.Limits.CPU.Sign() <= 0 || r.Limits.Memory.Sign() <= 0 {
		return false
	}
	same := func(request, limit Quantity) bool { return !request.Stated || request.Cmp(limit.Quantity) == 0 }
	return r.Requests == nil || same(r.Requests.CPU, r.Limits.CPU) && same(r.Requests.Memory, r.Limits.Memory)
}

// podLevelRoom reports whether the sidecar fits into the pod-level resources (KEP-2837), if
// there are any. The API server rejects a pod whose containers request more in total than
// the pod does (validation.go, validatePodResourceConsistency). By then it has set missing
// pod requests to the containers' total (defaults.go, defaultPodRequests), which leaves no
// room at all. We do not raise them: someone chose them for the pod as a whole.
func podLevelRoom(pod *Pod, s size) bool {
	if pod.Spec.Resources == nil {
		return true
	}
	cpu, memory := needed(pod, ofCPU, s.cpu), needed(pod, ofMemory, s.memory)
	exceeds := func(sum resource.Quantity, room Quantity) bool { return room.Stated && sum.Cmp(room.Quantity) > 0 }
	// Limits too: requests that are not set yet will be set to the total, and must not exceed
	// the limits.
	for _, room := range []*ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
		if room != nil && (exceeds(cpu, room.CPU) || exceeds(memory, room.Memory)) {
			return false
		}
	}
	return true
}

func ofCPU(l *ResourceList) resource.Quantity    { return l.CPU.Quantity }
func ofMemory(l *ResourceList) resource.Quantity { return l.Memory.Quantity }

// needed returns how much of one resource the pod requests with a first sidecar that requests
// that much: what the running containers request, or an init container and the sidecars before
// it if that is more (k8s.io/component-helpers/resource, AggregateContainerRequests).
func needed(pod *Pod, of func(*ResourceList) resource.Quantity, sidecar resource.Quantity) resource.Quantity {
	addTo := func(sum *resource.Quantity, c *Container) {
		if c.Resources.Requests != nil {
			sum.Add(of(c.Resources.Requests))
		}
	}
	sidecars := sidecar.DeepCopy()
	var most resource.Quantity
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == string(corev1.ContainerRestartPolicyAlways) {
			addTo(&sidecars, c)
			continue
		}
		starting := sidecars.DeepCopy()
		addTo(&starting, c)
		if starting.Cmp(most) > 0 {
			most = starting
		}
	}
	running := sidecars
	for i := range pod.Spec.Containers {
		addTo(&running, &pod.Spec.Containers[i])
	}
	if most.Cmp(running) > 0 {
		return most
	}
	return running
}
