package dashboards

import (
	"fmt"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// thisVM holds the matchers of the one VM that is chosen.
const thisVM = inClusters + `,namespace="$namespace",name="$name"`

// ofVM returns a metric of the VM's own page, one series for each set of the labels. Beside them is the cluster, which two VMs of
// the same name may differ in.
func ofVM(labels, metric string) string {
	return fmt.Sprintf("max by (cluster, %s) (%s{job=%q,%s})", labels, metric, rules.VMsJob, thisVM)
}

func newestVM() string { return fmt.Sprintf("%s{%s,%s}", rules.Newest, rules.NotVMs, thisVM) }

func now() Row {
	const occupied = `kubevirt_vmi_hypervisor_control_state_seconds{job=%[1]q,%[2]s,control_state="occupied"}`
	return Row{Title: "Now", Panels: []Panel{
		{Title: "Executed by", Kind: Words, Width: 5, Height: 5,
			Alerts:      []string{"VirtualMachineOnSoftwareEmulation", "VirtualMachineOnSoftwareEmulationBesideKVM", "VirtualMachineHypervisorUnknown"},
			Description: "KVM, or qemu-tcg: software emulation, where " + contract.EmulationCost + ". No data: the VM does not run, or has no exporter.",
			Queries:     []Query{{Expr: newestVM(), Legend: "{{hypervisor_type}} on {{node}} {{cluster}}"}}},
		{Title: "State of the domain", Kind: Words, Width: 5, Height: 5,
			Alerts:      []string{"VirtualMachinePausedByError"},
			Description: "What libvirt says of the domain: its state and the reason. During a migration there are two.",
			Queries:     []Query{{Expr: ofVM("node, state, reason", "kubevirt_vmi_hypervisor_state_info"), Legend: "{{state}} ({{reason}}) on {{node}} {{cluster}}"}}},
		{Title: "QEMU has not answered for", Kind: Stat, Unit: Seconds, Width: 4, Height: 5, Bad: 300,
			Alerts:      []string{"VirtualMachineMonitorStuck"},
			Description: "How long QEMU has owed libvirt an answer. 0 is normal: there is no question.",
			Queries: []Query{{Expr: fmt.Sprintf("max("+occupied+") or max(kubevirt_vmi_hypervisor_control_state_seconds{job=%[1]q,%[2]s}) * 0",
				rules.VMsJob, thisVM)}}},
		{Title: "Runs there for", Kind: Stat, Unit: Seconds, Width: 4, Height: 5,
			Description: "Time since the VM started in its pod, or came to it by a migration. It is less if its type changed since, or if the exporter was restarted.",
			Queries: []Query{{Expr: fmt.Sprintf("time() - max(hypervisor_exporter_last_change_timestamp_seconds{job=%q,%s} and on (cluster, namespace, name, node) %s)",
				rules.VMsJob, thisVM, newestVM())}}},
		{Title: "Its node", Kind: Words, Width: 6, Height: 5,
			Alerts:      []string{"VirtualMachinesOnNestedVirtualization"},
			Description: "Whether the node is itself a VM, and under what (none: it is not), and whether KVM there uses hardware-assisted paging.",
			Queries: []Query{{Expr: fmt.Sprintf("max by (cluster, node, virtualization, hardware_paging) (kubevirt_node_virtualization_info{job=%q,%s} and on (cluster, node) %s)",
				rules.RelayJob, inClusters, newestVM()), Legend: "virtualization {{virtualization}}, hardware paging {{hardware_paging}}"}}},
	}}
}

func facts() Row {
	const pod, machine = "node, pod, domain_type, arch, host_arch, machine, cpu_model", "hypervisor_version, libvirt_version, hyperv, launch_security, memory, disks, nics"
	const domain = "kubevirt_vmi_hypervisor_domain_info"
	return Row{Title: "Facts", Panels: []Panel{
		{Title: "Domain", Kind: Table, Width: 24, Height: 5,
			Alerts:      []string{"VirtualMachineDomainTypeOther", "VirtualMachinesOfAnotherArchitecture"},
			Description: "The libvirt domain, one row for each pod. An arch other than host_arch can only be emulated there.",
			Columns:     []string{"cluster", "node", "pod", "domain_type", "arch", "host_arch", "machine", "cpu_model"},
			Queries:     []Query{{Expr: ofVM(pod, domain)}}},
		{Title: "Devices and versions", Kind: Table, Width: 24, Height: 5,
			Alerts:      []string{"VirtualMachineWithoutEnlightenments", "VirtualMachinesOnOutdatedQEMU"},
			Description: "Windows should have hyperv full. Emulated disks and nics are slower than virtio. docs/metrics.md explains each label.",
			Columns:     []string{"cluster", "node", "hypervisor_version", "libvirt_version", "hyperv", "launch_security", "memory", "disks", "nics"},
			Queries:     []Query{{Expr: ofVM("node, "+machine, domain)}}},
		{Title: "Alerts about this VM", Kind: Table, Width: 24, Height: 6,
			Description: "Those of the hypervisor exporter and of all others that name the VM. pending: its time is not over.",
			Columns:     []string{"cluster", "alertname", "severity", "alertstate", "node"},
			Queries:     []Query{{Expr: fmt.Sprintf("max by (cluster, alertname, severity, alertstate, node) (ALERTS{%s,%s})", rules.NotVMs, thisVM)}}},
	}}
}

func history() Row {
	return Row{Title: "History", Panels: []Panel{
		{Title: "Hypervisor and node", Kind: Timeline, Width: 24, Height: 6,
			Description: "A new row at a migration or a restart: another node, or another type. A gap: the VM did not run, or was not scraped.",
			Queries:     []Query{{Expr: newestVM(), Legend: "{{hypervisor_type}} on {{node}} {{cluster}}"}}},
		{Title: "State of the domain over time", Kind: Timeline, Width: 24, Height: 6,
			Description: "What libvirt said of the domain: its states and the reasons.",
			Queries:     []Query{{Expr: ofVM("state, reason", "kubevirt_vmi_hypervisor_state_info"), Legend: "{{state}} ({{reason}}) {{cluster}}"}}},
		{Title: "Versions over time", Kind: Timeline, Width: 24, Height: 6,
			Description: "A VM gets the versions of its new virt-launcher when it is migrated or restarted.",
			Queries: []Query{{Expr: ofVM("hypervisor_version, libvirt_version", "kubevirt_vmi_hypervisor_domain_info"),
				Legend: "QEMU {{hypervisor_version}}, libvirt {{libvirt_version}} {{cluster}}"}}},
		{Title: "QEMU's monitor", Kind: Lines, Unit: Seconds, Width: 12, Height: 8,
			Description: "How long the monitor has been in its state: ok is always 0, job is a job such as a migration, occupied is a question that QEMU has not answered.",
			Queries:     []Query{{Expr: ofVM("control_state", "kubevirt_vmi_hypervisor_control_state_seconds"), Legend: "{{control_state}} {{cluster}}"}}},
		{Title: "Exporter and libvirt", Kind: Lines, Unit: Number, Width: 12, Height: 8,
			Alerts:      []string{"HypervisorExporterTargetDown", "HypervisorExporterLibvirtUnreachable"},
			Description: "Whether the exporter answers Prometheus (1), and libvirt the exporter. While one does not, what the VM shows is missing or old.",
			Queries: []Query{
				{Expr: fmt.Sprintf("max(up{job=%q,%s})", rules.VMsJob, thisVM), Legend: "exporter"},
				{Expr: fmt.Sprintf("max(hypervisor_exporter_libvirt_up{job=%q,%s})", rules.VMsJob, thisVM), Legend: "libvirt"},
			}},
	}}
}
