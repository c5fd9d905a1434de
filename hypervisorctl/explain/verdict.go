// Package explain is the command explain: why a VMI has its type, from what KubeVirt wrote into its pod, what its node
// offers and what its sidecar says.
package explain

import "fmt"

// Verdict is why a VMI has its type.
type Verdict int

// The verdicts.
const (
	// NotRunning: no hypervisor yet.
	NotRunning Verdict = iota
	// NoPod: KubeVirt says that it runs, but it has no pod on its node.
	NoPod
	// AmbiguousPod: several pods on its node could be its own.
	AmbiguousPod
	// Hardware: KVM, as it should be.
	Hardware
	// HypervDirect: KubeVirt is configured for hyperv-direct.
	HypervDirect
	// OtherHypervisor: KubeVirt is configured for a hypervisor that this release does not know.
	OtherHypervisor
	// CrossArchitecture: the guest's architecture is not the node's, and QEMU emulates it.
	CrossArchitecture
	// CrossArchitectureHardware: the guest's architecture is not the node's, and the node's KVM executes it.
	CrossArchitectureHardware
	// CrossArchitectureOpen: the guest's architecture is not the node's; which of the two executes it was not seen.
	CrossArchitectureOpen
	// EmulationAllowed: useEmulation was on when the pod was created, so it got no device, whatever the node has.
	EmulationAllowed
	// NoDevice: useEmulation was on, and the node has no device.
	NoDevice
	// Rewritten: the domain is not what KubeVirt writes, and the pod has hook sidecars, which can rewrite it.
	Rewritten
	// Contradiction: what was seen does not follow from what is known.
	Contradiction
	// NotHeard: the sidecar runs and libvirt does not answer it.
	NotHeard
)

type verdictText struct{ value, sentence, advice string }

// texts has the value for JSON (one of a fixed set, in snake case), a sentence, and what to do, if anything. NAME, POD and
// DEVICE are placeholders.
func texts(v Verdict) verdictText {
	switch v {
	case NotRunning:
		return verdictText{"not_running", "The VMI does not run, so no hypervisor executes it.",
			"If it should run, its events say why it does not: kubectl describe vmi NAME."}
	case NoPod:
		return verdictText{"no_pod", "KubeVirt says that the VMI runs, but it has no pod on its node.",
			"Check its events: kubectl describe vmi NAME."}
	case AmbiguousPod:
		return verdictText{"ambiguous_pod", "Several pods on the VMI's node name it as their controller. KubeVirt runs only one of them, and nothing shows which one.",
			"Delete those that KubeVirt did not create: kubectl get pods -l kubevirt.io=virt-launcher -o wide."}
	case Hardware:
		return verdictText{"hardware", "The pod has the device DEVICE, and KVM executes the guest.", ""}
	case HypervDirect:
		return verdictText{"hyperv_direct", "KubeVirt is configured for hyperv-direct. The pod has the device DEVICE, and Microsoft's hypervisor executes the guest. The metric's hypervisor_type is unknown for it, and domain_type is hyperv.", ""}
	case OtherHypervisor:
		return verdictText{"other_hypervisor", "KubeVirt is configured for a hypervisor other than KVM, and the guest runs on it.", ""}
	case CrossArchitecture:
		return verdictText{"cross_architecture", "The guest's architecture is not the node's, and QEMU executes the guest in software.",
			"Run the VM on a node of its architecture (spec.template.spec.architecture), or expect it to be ten times slower."}
	case CrossArchitectureHardware:
		return verdictText{"cross_architecture_hardware", "The guest's architecture is not the node's, but the node's KVM can execute it, and does.", ""}
	case CrossArchitectureOpen:
		return verdictText{"cross_architecture_open", "The guest's architecture is not the node's. QEMU executes the guest in software, unless the node's KVM can execute that architecture.", ""}
	case EmulationAllowed:
		return verdictText{"emulation_allowed", "useEmulation was on when the pod was created. KubeVirt then does not ask for DEVICE, so the pod has no such device and QEMU executes the guest in software, whatever the node has.",
			"Set useEmulation to false in the KubeVirt object, then restart the VM: virtctl restart NAME."}
	case NoDevice:
		return verdictText{"no_device", "useEmulation was on when the pod was created, and the node has no DEVICE: QEMU executes the guest in software.",
			"Enable virtualization on the node (firmware, nested virtualization, kernel module), or keep VMs off it. Set useEmulation to false, so that VMs wait for a node with the device instead of running without it."}
	case Rewritten:
		return verdictText{"rewritten", "KubeVirt writes another domain type for this VM. A hook sidecar of the pod can change it.",
			"Check the VM's annotation hooks.kubevirt.io/hookSidecars."}
	case Contradiction:
		return verdictText{"contradiction", "The type does not follow from what KubeVirt, the pod and the node say.",
			"Compare the domain: kubectl exec POD -c compute -- virsh dumpxml 1. If it agrees with the type, report this."}
	case NotHeard:
		return verdictText{"not_heard", "The sidecar runs, but libvirt has not answered it for 30 s, or the domain does not show its type.",
			"Check the sidecar's log: kubectl logs POD -c hypervisor-exporter."}
	default:
		return verdictText{fmt.Sprintf("verdict_%d", int(v)), "unknown verdict", ""}
	}
}

// String is the value for JSON.
func (v Verdict) String() string { return texts(v).value }

// MarshalText is the value for JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Sentence is the verdict in a sentence or two.
func (v Verdict) Sentence() string { return texts(v).sentence }

// Advice says what to do; empty if there is nothing to do.
func (v Verdict) Advice() string { return texts(v).advice }
