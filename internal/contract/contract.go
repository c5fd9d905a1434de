// Package contract holds the names, and the one number, that two of the product's programs must agree on.
// Changing one is a breaking change: old and new parts meet during an upgrade.
package contract

const (
	// AnnotationVMI holds, on an injected pod, the name of its VMI. The webhook or the
	// admission policy takes it from the pod's controller reference and overwrites what
	// the VM's owner wrote there. The sidecar reads it by the downward API.
	AnnotationVMI = "hypervisor-exporter.kubevirt.io/vmi"
	// VMIKind is the kind of the controller reference that names a VMI (KubeVirt,
	// api/core/v1: VirtualMachineInstanceGroupVersionKind).
	VMIKind = "VirtualMachineInstance"
	// RelayAudience is the audience of tokens that are good for the relay and for
	// nothing else, the API server included.
	RelayAudience = "hypervisor-exporter-relay"
	// EmulationCost is what software emulation costs, as it was measured. Alerts, dashboards and hypervisorctl say the same.
	EmulationCost = "CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md)"
)
