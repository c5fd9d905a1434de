package hypervisor

// Type is what executes the guest's instructions, as the label hypervisor_type
// of kubevirt_vmi_hypervisor_info says it: a closed set.
type Type int

const (
	// Unknown is a domain type outside the closed set, XML that does not tell,
	// or a libvirt that has not been heard for longer than the grace period.
	Unknown Type = iota
	// KVM is hardware virtualisation by the kernel's KVM.
	KVM
	// QEMUTCG is software emulation by QEMU's Tiny Code Generator.
	QEMUTCG
)

// String gives the value of the label hypervisor_type.
func (t Type) String() string {
	switch t {
	case KVM:
		return "kvm"
	case QEMUTCG:
		return "qemu-tcg"
	case Unknown:
		return "unknown"
	default:
		return "unknown"
	}
}

// typeOf maps libvirt's domain types (virDomainVirtType) that KubeVirt can write.
func typeOf(domainType string) Type {
	switch domainType {
	case "kvm":
		return KVM
	case "qemu":
		return QEMUTCG
	default:
		return Unknown
	}
}
