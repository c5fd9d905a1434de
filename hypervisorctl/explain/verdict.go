// Package explain is the command explain: why a VMI has the type that it has, from what KubeVirt wrote into its pod,
// what its node offers and what its sidecar saw.
package explain

import "fmt"

// Verdict is why.
type Verdict int

// The verdicts.
const (
	// NotRunning: there is nothing to explain yet.
	NotRunning Verdict = iota
	// Hardware: KVM, as it should be.
	Hardware
	// OtherHypervisor: KubeVirt was configured for another hypervisor than KVM.
	OtherHypervisor
	// CrossArchitecture: the guest's architecture is not the node's.
	CrossArchitecture
	// EmulationAllowed: useEmulation was on when the pod was made, so that it got no device, whatever the node has.
	EmulationAllowed
	// NoDevice: useEmulation was on, and the node has no device to give.
	NoDevice
	// Rewritten: the domain is not what KubeVirt writes, and hook sidecars are there that can rewrite it.
	Rewritten
	// Contradiction: what was seen does not follow from what is known.
	Contradiction
	// NotHeard: the sidecar runs and does not hear libvirt.
	NotHeard
)

// String is the value for JSON: one of a fixed set, in snake case.
func (v Verdict) String() string {
	switch v {
	case NotRunning:
		return "not_running"
	case Hardware:
		return "hardware"
	case OtherHypervisor:
		return "other_hypervisor"
	case CrossArchitecture:
		return "cross_architecture"
	case EmulationAllowed:
		return "emulation_allowed"
	case NoDevice:
		return "no_device"
	case Rewritten:
		return "rewritten"
	case Contradiction:
		return "contradiction"
	case NotHeard:
		return "not_heard"
	default:
		return fmt.Sprintf("verdict_%d", int(v))
	}
}

// MarshalText is the value, for JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Sentence says it for people.
func (v Verdict) Sentence() string {
	switch v {
	case NotRunning:
		return "The VMI does not run, so no hypervisor executes it."
	case Hardware:
		return "The pod was given the KVM device, and KVM executes the guest."
	case OtherHypervisor:
		return "KubeVirt is configured for another hypervisor than KVM, and the guest runs on that."
	case CrossArchitecture:
		return "The guest's architecture is not the node's. No CPU of the node can execute it, so QEMU does in software."
	case EmulationAllowed:
		return "useEmulation was on when the pod was made. KubeVirt then does not ask for the KVM device, so there is none in the pod and QEMU executes the guest in software, whatever the node has."
	case NoDevice:
		return "useEmulation was on when the pod was made, and the node has no KVM device to give: QEMU executes the guest in software."
	case Rewritten:
		return "KubeVirt would have written another domain type into the VM's domain; a hook sidecar of the pod can rewrite it."
	case Contradiction:
		return "The type does not follow from what KubeVirt, the pod and the node say."
	case NotHeard:
		return "The sidecar runs and has not heard libvirt for 30 s, or libvirt's domain does not tell its type."
	default:
		return v.String()
	}
}

// Advice says what to do; empty where nothing is to be done.
func (v Verdict) Advice() string {
	switch v {
	case NotRunning:
		return "Where it should: kubectl describe vmi NAME has the events that say why it does not."
	case Hardware, OtherHypervisor:
		return ""
	case CrossArchitecture:
		return "Run the VM on a node of its architecture (spec.template.spec.architecture), or expect it to be ten times slower."
	case EmulationAllowed:
		return "Set useEmulation to false in the KubeVirt object, then restart the VM: virtctl restart NAME."
	case NoDevice:
		return "Enable virtualization on the node (firmware, nested virtualization, kernel module kvm), or keep VMs off it; set useEmulation to false, so that VMs wait for KVM rather than run without."
	case Rewritten:
		return "Look at the annotation hooks.kubevirt.io/hookSidecars of the VM."
	case Contradiction:
		return "Compare the domain itself: kubectl exec POD -c compute -- virsh dumpxml 1; if it agrees with the type, report this."
	case NotHeard:
		return "Look at the sidecar's log: kubectl logs POD -c hypervisor-exporter."
	default:
		return ""
	}
}
