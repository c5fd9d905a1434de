package rules

import (
	"time"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// WithoutExporter is the rules for clusters in which nothing of ours is installed: they use the series of KubeVirt and of
// kube-state-metrics only. The PrometheusRule names no namespace, because none of ours exists.
func WithoutExporter() Component { return Settings{}.WithoutExporter() }

func withoutExporter() Component {
	return Component{Name: "without-exporter", Object: "hypervisor-without-exporter", Groups: []Group{{
		Name:   "hypervisor-without-exporter",
		Alerts: []Alert{withoutDevice(), nodeWithoutDevice(), emulationEnabled()},
	}}}
}

// hypervisorDevice matches the devices of KVM and of MSHV as kube-state-metrics writes them (KubeVirt 1.9, pkg/hypervisor:
// GetHypervisorDevice).
const hypervisorDevice = `resource=~"devices_kubevirt_io_(kvm|mshv)"`

const ofCompute = `kube_pod_container_resource_requests{` + NotVMs + `,container="compute"`

func withoutDevice() Alert {
	return Alert{
		Name: "VirtualMachineWithoutKVMDevice",
		Expr: `max by (cluster, namespace, name, node) (
  ` + namedPods + `
  and on (cluster, namespace, pod) ` + ofCompute + `}
  unless on (cluster, namespace, pod) ` + ofCompute + `,` + hypervisorDevice + `}
)`,
		For:         5 * time.Minute,
		Severity:    Warning,
		Summary:     "A VM's pod has no KVM device.",
		Description: `The pod of VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} requests no KVM device, so the VM most likely runs on software emulation. There, a guest's ` + contract.EmulationCost + `.`,
		Why:         "KubeVirt requests the device for each VM unless useEmulation is set. The second line keeps the alert silent where kube-state-metrics does not show the pod.",
	}
}

func nodeWithoutDevice() Alert {
	const allocatable = `kube_node_status_allocatable{` + NotVMs + `,`
	return Alert{
		Name: "NodeWithoutKVMDevice",
		Expr: `max by (cluster, node) (
  ` + allocatable + `resource="devices_kubevirt_io_tun"} > 0
  unless on (cluster, node) ` + allocatable + hypervisorDevice + `} > 0
)`,
		For:         10 * time.Minute,
		Severity:    Warning,
		Summary:     "A KubeVirt node offers no KVM device.",
		Description: `Node {{ $labels.node }} runs KubeVirt and offers VMs no KVM device: /dev/kvm is missing. VMs cannot start there, or run on software emulation if useEmulation is set.`,
		Why:         "KubeVirt's device plugins offer tun on each node of KubeVirt, so a node that offers tun and no hypervisor device lacks it. While virt-handler restarts, the node offers neither.",
	}
}

func emulationEnabled() Alert {
	return Alert{
		Name:        "KubeVirtSoftwareEmulationEnabled",
		Expr:        `max by (cluster) (kubevirt_configuration_emulation_enabled{` + NotVMs + `}) == 1`,
		For:         10 * time.Minute,
		Severity:    Warning,
		Summary:     "KubeVirt is configured to run VMs on software emulation.",
		Description: `KubeVirt's setting useEmulation is on: VMs that start request no KVM device and run on software emulation, on nodes with KVM, too.`,
		Why:         "VMs that started before the setting was changed keep what they have.",
	}
}
