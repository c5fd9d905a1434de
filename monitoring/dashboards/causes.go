package dashboards

import (
	"fmt"
	"strings"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// A cause is a reason why VMs are slow, or do not run.
type cause struct {
	name string
	// vms is a series for each VM, by each.
	vms string
	// common is true of a cause that all VMs of a fleet may share, so that a list of them says nothing.
	common bool
}

const each = "cluster, namespace, name, node"

// causes lists what the exporter, the relay and KubeVirt know, from worst to least.
func causes() []cause {
	grouped := func(expr string) string { return fmt.Sprintf("group by (%s) (%s)", each, expr) }
	page := func(metric, matchers string) string {
		return fmt.Sprintf("%s{job=%q,%s,%s}", metric, rules.VMsJob, chosen, matchers)
	}
	domain := func(matchers string) string { return page("kubevirt_vmi_hypervisor_domain_info", matchers) }
	kubevirt := func(matchers string) string {
		return fmt.Sprintf(`kubevirt_vmi_info{%s,%s,phase="running",%s}`, rules.NotVMs, chosen, matchers)
	}
	emulated, onKVM := vms(`hypervisor_type="qemu-tcg"`), vms(`hypervisor_type="kvm"`)
	foreign := fmt.Sprintf("%s{%s,%s}", rules.CrossArchitecture, rules.NotVMs, chosen)
	native := fmt.Sprintf("%s unless on (%s) %s", emulated, each, foreign)
	// Of all namespaces, whichever are chosen: what starts now and what runs on the node does not depend on it.
	current := fmt.Sprintf("last_over_time(%s{%s,%s}[10m])", rules.CurrentVersion, rules.NotVMs, inClusters)
	besideKVM := fmt.Sprintf(`%s{%s,%s,hypervisor_type="kvm"}`, rules.NodeCount, rules.NotVMs, inClusters)
	return []cause{
		{"paused by an error", grouped(page("kubevirt_vmi_hypervisor_state_info", fmt.Sprintf(`state="paused",reason=~%q`, rules.PausedByErrors))), false},
		{"QEMU does not answer", grouped(page("kubevirt_vmi_hypervisor_control_state_seconds", `control_state="occupied"`) + " > 300 or " +
			page("kubevirt_vmi_hypervisor_control_state_seconds", `control_state="error"`)), false},
		{"emulated, on a node with VMs on KVM", grouped(fmt.Sprintf("%s and on (cluster, node) %s", native, besideKVM)), false},
		{"emulated, on a node without VMs on KVM", grouped(fmt.Sprintf("%s unless on (cluster, node) %s", native, besideKVM)), false},
		{"emulated, because of its architecture", grouped(foreign), true},
		{"Windows without all enlightenments", grouped(fmt.Sprintf("%s and on (cluster, namespace, name) %s",
			domain(`domain_type="kvm",hyperv=~"none|partial"`), kubevirt(`guest_os_name=~"Microsoft Windows.*"`))), false},
		{"on a node that is a VM", grouped(fmt.Sprintf(`%s and on (cluster, node) kubevirt_node_virtualization_info{job=%q,%s,virtualization!~"none|unknown"}`,
			onKVM, rules.RelayJob, inClusters)), true},
		{"emulated disk or interface", grouped(domain(`disks="emulated"`) + " or " + domain(`nics="emulated"`)), true},
		{"another QEMU than VMs that start now", grouped(fmt.Sprintf(`%[1]s and on (%[2]s) %[3]s unless on (cluster, hypervisor_version) %[4]s and on (cluster) %[4]s`,
			domain(`hypervisor_version!=""`), each, kubevirt(`outdated="true"`), current)), true},
	}
}

// stopped shows VMs in phase Running that do not run, or not as fast as they could.
func stopped() Row {
	var counts []Query
	var listed []string
	for _, one := range causes() {
		counts = append(counts, Query{Expr: fmt.Sprintf("count(%s) or count(%s) * 0", one.vms, vms("")), Legend: one.name})
		if !one.common {
			listed = append(listed, fmt.Sprintf("label_replace(%s, \"cause\", %q, \"\", \"\")", one.vms, one.name))
		}
	}
	return Row{Title: "Stopped or slow VMs", Panels: []Panel{
		{Title: "Paused by an error", Kind: Stat, Unit: Number, Width: 4, Height: 10, Bad: 1,
			Alerts:      []string{"VirtualMachinePausedByError"},
			Description: "VMs that QEMU has paused, because a disk or the guest failed. The VMIs' phase is Running.",
			Queries:     counts[:1]},
		{Title: "QEMU does not answer", Kind: Stat, Unit: Number, Width: 4, Height: 10, Bad: 1,
			Alerts:      []string{"VirtualMachineMonitorStuck"},
			Description: "VMs whose QEMU has not answered a command for more than 5 minutes, or whose connection to libvirt has failed.",
			Queries:     counts[1:2]},
		{Title: "VMs by cause", Kind: Bars, Unit: Number, Width: 10, Height: 10,
			Alerts:      []string{"VirtualMachinesOfAnotherArchitecture", "VirtualMachinesOnNestedVirtualization", "VirtualMachinesOnOutdatedQEMU"},
			Description: "Why VMs are slow or do not run, from worst to least. A VM counts for each of its causes.",
			Queries:     counts},
		{Title: "VMs by enlightenments for Windows", Kind: Bars, Unit: Number, Width: 6, Height: 10,
			Alerts:      []string{"VirtualMachineWithoutEnlightenments"},
			Description: "Windows on KVM should have full. Linux needs none.",
			Queries: []Query{{Expr: fmt.Sprintf(`count by (hyperv) (group by (cluster, namespace, name, hyperv) (kubevirt_vmi_hypervisor_domain_info{job=%q,%s,hyperv!=""}))`,
				rules.VMsJob, chosen), Legend: "{{hyperv}}"}}},
		{Title: "Stopped or slow VMs", Kind: Table, Width: 24, Height: 8,
			Description: "A row for each VM and cause, without the causes that all VMs may share. The name leads to the VM's own page.",
			Columns:     []string{"cluster", "namespace", "name", "node", "cause"},
			Queries:     []Query{{Expr: strings.Join(listed, "\nor\n")}}},
	}}
}
