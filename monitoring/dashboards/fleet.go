package dashboards

import (
	"fmt"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// chosen holds the matchers of the variables; inClusters is for what has no namespace or node of a VM. The label cluster is
// that of a global Prometheus, Thanos or Mimir. Where there is none, no query is different without it.
const (
	inClusters = `cluster=~"$cluster"`
	chosen     = inClusters + `,namespace=~"$namespace",node=~"$node"`
)

// vms selects one series for each VM.
func vms(matchers string) string {
	if matchers != "" {
		matchers = "," + matchers
	}
	return rules.Newest + "{" + rules.NotVMs + "," + chosen + matchers + "}"
}

// countOf counts the VMs of a type: 0 if there are only others, no series if there is no VM.
func countOf(kind string) string {
	return fmt.Sprintf(`count(%s) or count(%s) * 0`, vms(fmt.Sprintf("hypervisor_type=%q", kind)), vms(""))
}

func fleet() Row {
	share := fmt.Sprintf(`(%s) / count(%s)`, countOf("qemu-tcg"), vms(""))
	return Row{Title: "Fleet", Panels: []Panel{
		{Title: "Running VMs", Kind: Stat, Unit: Number, Width: 4, Height: 4,
			Description: "VMs that have an exporter.", Queries: []Query{{Expr: fmt.Sprintf(`count(%s)`, vms(""))}}},
		{Title: "On emulation", Kind: Stat, Unit: Number, Width: 4, Height: 4, Bad: 1,
			Alerts:      []string{"VirtualMachineOnSoftwareEmulation"},
			Description: "VMs that QEMU runs in software (TCG), not on KVM.", Queries: []Query{{Expr: countOf("qemu-tcg")}}},
		{Title: "Share on emulation", Kind: Stat, Unit: Share, Width: 4, Height: 4, Bad: 0.000001,
			Description: "Share of the running VMs that are on software emulation.",
			Queries:     []Query{{Expr: share}}},
		{Title: "Type unknown", Kind: Stat, Unit: Number, Width: 4, Height: 4, Bad: 1,
			Alerts:      []string{"VirtualMachineHypervisorUnknown", "VirtualMachineDomainTypeOther"},
			Description: "VMs for which the exporter does not know what executes them. Those of Microsoft's hypervisor, which KubeVirt was configured to use (domain type hyperv), do not count.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count(%s unless on (%s) kubevirt_vmi_hypervisor_domain_info{job=%q,%s,domain_type="hyperv"}) or count(%s) * 0`, vms(`hypervisor_type="unknown"`), each, rules.VMsJob, chosen, vms(""))}}},
		{Title: "Nodes with emulated VMs", Kind: Stat, Unit: Number, Width: 8, Height: 4, Bad: 1,
			Alerts:      []string{"NodeTurnedToSoftwareEmulation", "VirtualMachineOnSoftwareEmulationBesideKVM"},
			Description: "Nodes that run at least one VM on software emulation. Many VMs on one node: the node has lost KVM. One VM on a node with KVM: the VM is misconfigured.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count(count by (cluster, node) (%s)) or count(%s) * 0`, vms(`hypervisor_type="qemu-tcg"`), vms(""))}}},
		{Title: "VMs by hypervisor type", Kind: Areas, Unit: Number, Width: 16, Height: 8,
			Description: "Each running VM once, also during a migration.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count by (hypervisor_type) (%s)`, vms("")), Legend: "{{hypervisor_type}}"}}},
		{Title: "Share on emulation over time", Kind: Lines, Unit: Share, Width: 8, Height: 8,
			Description: "A sudden rise: a node lost KVM, or VMs that cannot use it started.",
			Queries:     []Query{{Expr: share, Legend: "on emulation"}}},
	}}
}

func emulated() Row {
	slow := vms(`hypervisor_type="qemu-tcg"`)
	return Row{Title: "VMs on software emulation", Panels: []Panel{{
		Title: "VMs on software emulation", Kind: Table, Width: 24, Height: 8,
		Alerts:      []string{"VirtualMachineOnSoftwareEmulation"},
		Description: "Machine and versions are empty while a VM's libvirt does not answer.",
		Columns:     []string{"cluster", "namespace", "name", "node", "arch", "machine", "hypervisor_version", "libvirt_version"},
		Queries: []Query{{Expr: fmt.Sprintf(`%[1]s
* on (cluster, namespace, name, node) group_left (arch, machine, hypervisor_version, libvirt_version)
  topk by (cluster, namespace, name, node) (1, group by (cluster, namespace, name, node, arch, machine, hypervisor_version, libvirt_version) (kubevirt_vmi_hypervisor_domain_info{job=%[2]q,%[3]s}))
or on (cluster, namespace, name, node) %[1]s`, slow, rules.VMsJob, chosen)}},
	}}}
}

func nodes() Row {
	domain := fmt.Sprintf(`kubevirt_vmi_hypervisor_domain_info{job=%q,%s}`, rules.VMsJob, chosen)
	by := func(label string) string {
		return fmt.Sprintf(`topk(20, count by (%[1]s) (group by (cluster, namespace, name, %[1]s) (%[2]s)))`, label, domain)
	}
	return Row{Title: "Nodes and versions", Panels: []Panel{
		{Title: "VMs by node and type", Kind: Bars, Unit: Number, Width: 10, Height: 8,
			Description: "The 20 largest groups.",
			Queries:     []Query{{Expr: fmt.Sprintf(`sort_desc(topk(20, count by (cluster, node, hypervisor_type) (%s)))`, vms("")), Legend: "{{node}} {{hypervisor_type}} {{cluster}}"}}},
		{Title: "VMs by QEMU version", Kind: Bars, Unit: Number, Width: 7, Height: 8,
			Description: "The 20 most frequent versions. A VM keeps its QEMU until it is restarted or migrated.",
			Queries:     []Query{{Expr: by("hypervisor_version"), Legend: "QEMU {{hypervisor_version}}"}}},
		{Title: "VMs by libvirt version", Kind: Bars, Unit: Number, Width: 7, Height: 8,
			Description: "The 20 most frequent versions. A VM keeps its libvirt until it is restarted or migrated.",
			Queries:     []Query{{Expr: by("libvirt_version"), Legend: "libvirt {{libvirt_version}}"}}},
	}}
}
