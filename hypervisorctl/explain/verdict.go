// Package explain is the command explain: what stops a VM or makes it slow, and why it has its type, from what KubeVirt
// wrote into its pod, what its node offers and what its sidecar reports. It owns the list of problems.
package explain

// Verdict is why a VMI has its type: the value for JSON, one of a fixed set, in snake case. texts has its meaning. A VMI
// without a pod that is surely its own has vm.Why's value: not_running, unschedulable, pods_refused, no_pod or ambiguous_pod.
type Verdict string

// The verdicts on a VMI with a pod.
const (
	Hardware                  Verdict = "hardware"
	HypervDirect              Verdict = "hyperv_direct"
	OtherHypervisor           Verdict = "other_hypervisor"
	CrossArchitecture         Verdict = "cross_architecture"
	CrossArchitectureHardware Verdict = "cross_architecture_hardware"
	// CrossArchitectureOpen: which of the two before executes the guest was not measured.
	CrossArchitectureOpen Verdict = "cross_architecture_open"
	EmulationAllowed      Verdict = "emulation_allowed"
	NoDevice              Verdict = "no_device"
	Rewritten             Verdict = "rewritten"
	Contradiction         Verdict = "contradiction"
	NotHeard              Verdict = "not_heard"
)

// Text is a verdict in a sentence or two, and what to do, if anything. vm.VMI.Advice replaces the words in capitals.
type Text struct{ Sentence, Advice string }

// texts returns the text of each verdict.
func texts() map[Verdict]Text {
	return map[Verdict]Text{
		Hardware: {Sentence: "The pod has the device DEVICE, and KVM executes the guest."},
		HypervDirect: {Sentence: "KubeVirt is configured for hyperv-direct. The pod has the device DEVICE, and Microsoft's hypervisor " +
			"executes the guest. The metric's hypervisor_type is unknown for it, and domain_type is hyperv."},
		OtherHypervisor: {Sentence: "KubeVirt is configured for a hypervisor other than KVM, and the guest runs on it."},
		CrossArchitecture: {"The guest's architecture is not the node's, and QEMU executes the guest in software.",
			"use a disk image of the node's architecture (spec.template.spec.architecture), or nodes of the guest's, then RESTART"},
		CrossArchitectureHardware: {Sentence: "The guest's architecture is not the node's, but the node's KVM can execute it, and does."},
		CrossArchitectureOpen: {Sentence: "The guest's architecture is not the node's. QEMU executes the guest in software, " +
			"unless the node's KVM can execute that architecture."},
		EmulationAllowed: {"useEmulation was on when the pod was created. KubeVirt then does not ask for DEVICE, " +
			"so the pod has no such device and QEMU executes the guest in software, whatever the node has.",
			"set useEmulation to false in the KubeVirt object, then RESTART"},
		NoDevice: {"useEmulation was on when the pod was created, and the node has no DEVICE: QEMU executes the guest in software.",
			"enable virtualization on the node (firmware, nested virtualization, kernel module), or keep VMs off it; set useEmulation to " +
				"false in the KubeVirt object, so that VMs wait for a node with the device; then RESTART"},
		Rewritten: {"KubeVirt writes another domain type for this VM. A hook sidecar of the pod can change it.",
			"check the VM's annotation hooks.kubevirt.io/hookSidecars"},
		Contradiction: {"The type does not follow from KubeVirt's configuration, the pod and the node.",
			"compare the domain: " + virsh + "dumpxml NAMESPACE_NAME; if it agrees with the type, report this as a bug"},
		NotHeard: {"The sidecar runs, but libvirt has not answered it for 30 s, or the domain does not show its type.",
			"check the sidecar's log: kubectl logs POD -n NAMESPACE -c hypervisor-exporter"},
	}
}
