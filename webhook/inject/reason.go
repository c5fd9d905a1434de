package inject

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Reason is the outcome of a decision. Log, metric, admission warning, --explain and
// hypervisorctl all take their words from this one enumeration.
type Reason int

// The outcomes, in the order in which Decide checks them, from "not our business" to
// "would do harm". Decide never returns RefusedBefore, since it reads one pod: package
// refusals knows the pods before it.
const (
	NotVirtLauncher Reason = iota
	OptedOut
	EphemeralProvisioning
	AlreadyInjected
	NameTaken
	NoCompute
	NoLibvirtRuntime
	NoVMI
	HostNetwork
	Architecture
	PortTaken
	VolumeTaken
	NoPullSecret
	BestEffort
	PodLevelResources
	AnnotationsFull
	RefusedBefore
	Injected
)

// reasonEntry is all that is known about a reason.
type reasonEntry struct {
	// value is for metrics and logs, sentence for people.
	value, sentence string
	// expected: the outcome surprises no one who labelled the namespace, so there is no warning.
	expected bool
	// applies reports whether this is why the pod is left alone, if no earlier reason is. It
	// must not rely on what an earlier reason rules out. nil: Decide does not check it.
	applies func(Config, *Pod) bool
}

func (r Reason) entry() reasonEntry {
	if r < 0 || int(r) >= len(reasons) {
		return reasonEntry{value: fmt.Sprintf("reason_%d", int(r)), sentence: "unknown outcome"}
	}
	return reasons[r]
}

// reasons has an entry for each Reason and is never changed.
var reasons = [...]reasonEntry{
	NotVirtLauncher: {
		value: "not_virt_launcher", expected: true,
		sentence: "the pod is not labelled kubevirt.io=virt-launcher, so it runs no VM",
		// Hotplug attachment pods carry another value of the label (KubeVirt template.go). The
		// webhook configuration's objectSelector lets only virt-launcher through.
		applies: func(_ Config, pod *Pod) bool { return !pod.isLauncher() },
	},
	OptedOut: {
		value: "opted_out", expected: true,
		sentence: "the VM opted out with hypervisor-exporter.kubevirt.io/inject=false",
		// One "false" is enough: label and annotation may disagree.
		applies: func(_ Config, pod *Pod) bool {
			return pod.Annotations[AnnotationInject] == "false" || pod.Labels[AnnotationInject] == "false"
		},
	},
	EphemeralProvisioning: {
		value: "ephemeral_provisioning", expected: true,
		sentence: "the pod only provisions for KubeVirt and runs no VM",
		applies: func(_ Config, pod *Pod) bool {
			_, ok := pod.Annotations[annotationProvisioning]
			return ok
		},
	},
	AlreadyInjected: {
		value: "already_injected", expected: true,
		sentence: "the pod already has the init container hypervisor-exporter",
		// An init container of our name is ours: this makes reinvocation (reinvocationPolicy
		// IfNeeded) and input that is already patched harmless.
		applies: func(_ Config, pod *Pod) bool { return has(pod.Spec.InitContainers, ContainerName) },
	},
	NameTaken: {
		value:    "name_taken",
		sentence: "a container of the pod is already called hypervisor-exporter; rename it",
		// Names are unique over all containers of a pod (API server, validateInitContainers):
		// the API server would reject the pod.
		applies: func(_ Config, pod *Pod) bool { return has(pod.Spec.Containers, ContainerName) },
	},
	NoCompute: {
		value:    "no_compute",
		sentence: "the pod has no container compute, so there is no hypervisor to report on",
		applies:  func(_ Config, pod *Pod) bool { return !has(pod.Spec.Containers, computeContainer) },
	},
	NoLibvirtRuntime: {
		value:    "no_libvirt_runtime",
		sentence: "the pod has no volume libvirt-runtime mounted in compute, so the libvirt socket is out of reach",
		applies: func(_ Config, pod *Pod) bool {
			return !has(pod.Spec.Volumes, libvirtVolume) ||
				!slices.ContainsFunc(pod.compute().VolumeMounts, func(m VolumeMount) bool { return m.Name == libvirtVolume })
		},
	},
	NoVMI: {
		value:    "no_vmi",
		sentence: "the pod's controller is not a VirtualMachineInstance, so the sidecar could not name its VM",
		applies: func(_ Config, pod *Pod) bool {
			_, ok := pod.vmiName()
			return !ok
		},
	},
	HostNetwork: {
		value:    "host_network",
		sentence: "the pod uses the node's network, where the sidecar's port would open on the node and keep other VMs off it",
		// The API server would set hostPort to the container port, even of a port that is only
		// declared (defaults.go, defaultHostNetworkPorts): the scheduler would then place one VM
		// per node. With exposure Direct the port would also be open on the node.
		applies: func(_ Config, pod *Pod) bool { return pod.Spec.HostNetwork },
	},
	Architecture: {
		value: "architecture",
		sentence: "the pod may run on a node for whose architecture the sidecar's image is not built; " +
			"set spec.architecture of the VM, or build the image for it and add it to --sidecar-architectures",
		// An image without the node's architecture cannot be pulled or run, and holds up the VM.
		applies: func(cfg Config, pod *Pod) bool { return !runsOnlyOn(cfg.Architectures, pod) },
	},
	PortTaken: {
		value:    "port_taken",
		sentence: "another container of the pod declares the sidecar's TCP port; configure another with the webhook's port flag",
		applies:  func(cfg Config, pod *Pod) bool { return cfg.Exposure == Direct && portTaken(cfg.Port, pod) },
	},
	VolumeTaken: {
		value: "volume_taken",
		sentence: "the pod already has a volume hypervisor-exporter or something mounted at /var/run/hypervisor-exporter; " +
			"rename or move it",
		applies: func(_ Config, pod *Pod) bool { return volumeTaken(pod) },
	},
	NoPullSecret: {
		value: "no_pull_secret",
		sentence: "the pod names none of the pull secrets that the sidecar's image needs; " +
			"an image that cannot be pulled would hold the VM",
		applies: func(cfg Config, pod *Pod) bool {
			named := func(r NamedObject) bool { return slices.Contains(cfg.PullSecrets, r.Name) }
			return len(cfg.PullSecrets) > 0 && !slices.ContainsFunc(pod.Spec.ImagePullSecrets, named)
		},
	},
	BestEffort: {
		value: "best_effort",
		sentence: "no container of the pod states cpu or memory, " +
			"and the sidecar's own would change the QoS class from BestEffort",
		applies: func(_ Config, pod *Pod) bool { return isBestEffort(pod) },
	},
	PodLevelResources: {
		value: "pod_level_resources",
		sentence: "the pod-level resources (spec.resources) leave no room for the sidecar's; " +
			"raise them by the sidecar's cpu and memory",
		applies: func(cfg Config, pod *Pod) bool {
			s, _ := sizeFor(cfg, pod)
			return !podLevelRoom(pod, s)
		},
	},
	AnnotationsFull: {
		value:    "annotations_full",
		sentence: "the pod's annotations leave no room for the VM's name (256 KiB is the limit); shorten them",
		applies: func(_ Config, pod *Pod) bool {
			return !roomFor(nameAnnotation(pod), pod)
		},
	},
	RefusedBefore: {
		value: "refused_before",
		sentence: "the API server refused this VM's pods with the sidecar in them; " +
			"the VM's events say what refused them: let that admit the sidecar, then migrate the VM",
	},
	Injected: {value: "injected", sentence: "the sidecar is added", expected: true},
}

// String is the value for metrics and logs: one of a fixed set, in snake case.
func (r Reason) String() string { return r.entry().value }

// Sentence says for people why a pod is or is not injected and, where something can be
// done about it, what. It contains nothing from the pod.
func (r Reason) Sentence() string { return r.entry().sentence }

// Reasons lists every outcome, so that metrics can start at zero.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasons))
	for r := range Injected + 1 {
		all = append(all, r)
	}
	return all
}

// has reports whether one of the containers or volumes has the name.
func has[T interface{ name() string }](list []T, name string) bool {
	return slices.ContainsFunc(list, func(one T) bool { return one.name() == name })
}

// portTaken reports whether another container declares the sidecar's TCP port. The API
// server would admit the pod (it only warns), but all containers share one network
// namespace: the sidecar, an init container, binds first; the other would fail and take
// the VM with it. If the port is compute's it is the guest's, and the guest would answer
// the scrape.
func portTaken(port int32, pod *Pod) bool {
	ours := func(p ContainerPort) bool {
		return p.ContainerPort == port && (p.Protocol == string(corev1.ProtocolTCP) || p.Protocol == "")
	}
	return pod.anyContainer(func(c *Container) bool { return slices.ContainsFunc(c.Ports, ours) })
}

// volumeTaken reports whether the pod already has what the relay would take for the
// sidecar's. The API server would reject a second volume of the name; a container that
// mounts something at our path may be a sidecar that someone added by hand.
func volumeTaken(pod *Pod) bool {
	ours := func(m VolumeMount) bool { return path.Clean(m.MountPath) == exposureDirectory }
	return has(pod.Spec.Volumes, VolumeName) ||
		pod.anyContainer(func(c *Container) bool { return slices.ContainsFunc(c.VolumeMounts, ours) })
}
