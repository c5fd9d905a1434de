package inject

import "fmt"

// Reason is the outcome of a decision. The log, the metric, the admission
// warning and --explain all speak from this one enumeration.
type Reason int

// The outcomes, in the order in which Decide looks for them; Injected is last
// because it is what is left. RefusedBefore is not Decide's, which reads one pod:
// package refusals knows the pods before it.
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

type reasonText struct {
	value    string
	sentence string
	// expected: nobody who labelled the namespace would be surprised, so that
	// no warning is due.
	expected bool
}

// A function, not a variable: nothing can change it.
func texts(r Reason) reasonText {
	switch r {
	case NotVirtLauncher:
		return reasonText{"not_virt_launcher", "the pod is not labelled kubevirt.io=virt-launcher, so it runs no VM", true}
	case OptedOut:
		return reasonText{"opted_out", "the VM opted out with hypervisor-exporter.kubevirt.io/inject=false", true}
	case EphemeralProvisioning:
		return reasonText{"ephemeral_provisioning", "the pod only provisions for KubeVirt and runs no VM", true}
	case AlreadyInjected:
		return reasonText{"already_injected", "the pod already has the init container hypervisor-exporter", true}
	case NameTaken:
		return reasonText{"name_taken", "a container of the pod is already called hypervisor-exporter; rename it", false}
	case NoCompute:
		return reasonText{"no_compute", "the pod has no container compute, so there is no hypervisor to report on", false}
	case NoLibvirtRuntime:
		return reasonText{"no_libvirt_runtime", "the pod has no volume libvirt-runtime mounted in compute, so the libvirt socket is out of reach", false}
	case NoVMI:
		return reasonText{"no_vmi", "the pod's controller is not a VirtualMachineInstance, so the sidecar could not name its VM", false}
	case HostNetwork:
		return reasonText{"host_network", "the pod uses the node's network, where the sidecar's port would open on the node and keep other VMs off it", false}
	case Architecture:
		return reasonText{"architecture", "the pod may run on a node for whose architecture the sidecar's image is not built; set spec.architecture of the VM, or build the image for it and add it to --sidecar-architectures", false}
	case PortTaken:
		return reasonText{"port_taken", "another container of the pod declares the sidecar's TCP port; configure another with the webhook's port flag", false}
	case VolumeTaken:
		return reasonText{"volume_taken", "the pod already has a volume hypervisor-exporter or something mounted at /var/run/hypervisor-exporter; rename or move it", false}
	case NoPullSecret:
		return reasonText{"no_pull_secret", "the pod names none of the pull secrets that the sidecar's image needs; an image that cannot be pulled would hold the VM", false}
	case BestEffort:
		return reasonText{"best_effort", "no container of the pod states cpu or memory, and the sidecar's own would change the QoS class from BestEffort", false}
	case PodLevelResources:
		return reasonText{"pod_level_resources", "the pod-level resources (spec.resources) leave no room for the sidecar's; raise them by the sidecar's cpu and memory", false}
	case AnnotationsFull:
		return reasonText{"annotations_full", "the pod's annotations leave no room for the VM's name (256 KiB is the limit); shorten them", false}
	case RefusedBefore:
		return reasonText{"refused_before", "the API server refused this VM's pods with the sidecar in them; the VM's events say what refused them: let that admit the sidecar, then migrate the VM", false}
	case Injected:
		return reasonText{"injected", "the sidecar is added", true}
	default:
		return reasonText{fmt.Sprintf("reason_%d", int(r)), "unknown outcome", false}
	}
}

// String is the value for metrics and logs: one of a fixed set, in snake case.
func (r Reason) String() string { return texts(r).value }

// Sentence says for people why a pod is or is not injected and, where
// something can be done about it, what. It carries nothing from the pod.
func (r Reason) Sentence() string { return texts(r).sentence }

// Reasons lists every outcome, so that metrics can start at zero.
func Reasons() []Reason {
	all := make([]Reason, 0, Injected+1)
	for r := NotVirtLauncher; r <= Injected; r++ {
		all = append(all, r)
	}
	return all
}
