package rules

import "time"

const (
	// CurrentVersion is the recorded version of QEMU that VMs get when they start now.
	CurrentVersion = "hypervisor_version:kubevirt_vmi_hypervisor_domain_info:current"
	// OutdatedCount is the recorded number of VMs with another one, of an outdated virt-launcher.
	OutdatedCount = "cluster:kubevirt_vmi_hypervisor_domain_info:outdated"
)

// ofFleet is what has time, because it stays until someone acts: it is evaluated less often. The alerts about what all VMs of a
// cluster may share name no VM.
func ofFleet() Group {
	return Group{
		Name:       "hypervisor-exporter-fleet",
		Interval:   5 * time.Minute,
		Recordings: []Recording{currentVersion(), outdatedCount()},
		Alerts:     []Alert{withoutMetric(), enlightenmentsMissing(), otherArchitecture(), nested(), outdatedQEMU()},
	}
}

// nested counts nodes by the relay's metric. It is one alert for each cluster, not for each node: in a cloud all nodes are VMs,
// and they come and go.
func nested() Alert {
	return Alert{
		Name: "VirtualMachinesOnNestedVirtualization",
		Expr: `count by (cluster, virtualization) (
  group by (cluster, node, virtualization) (kubevirt_node_virtualization_info{job="` + RelayJob + `",virtualization!~"none|unknown"})
  and on (cluster, node)
    ` + recorded(NodeCount, `hypervisor_type="kvm"`) + `
)`,
		For:         30 * time.Minute,
		Severity:    Info,
		Summary:     "VMs run on KVM on nodes that are themselves VMs.",
		Description: `VMs run on KVM on nodes that are themselves VMs (of {{ $labels.virtualization }}): nested virtualization, on {{ $value }} of the nodes. Expect the VMs there to be slower than on physical machines, above all with much I/O and many interrupts.`,
		Why:         "One alert for all nodes of a cluster. Where a node is not known to be a VM, it is not counted.",
	}
}

// ofLaunchers selects the VMs' domains by whether KubeVirt calls their virt-launcher outdated: of another image than the one
// that VMs get when they start now (KubeVirt, virt-controller: setLauncherContainerInfo).
func ofLaunchers(outdated string) string {
	return domain(`hypervisor_version!=""`) + `
    and on (cluster, namespace, name, node)
      kubevirt_vmi_info{` + NotVMs + `,phase="running",outdated="` + outdated + `"}`
}

// currentVersion is that of the most VMs whose virt-launcher is KubeVirt's own of now. PromQL cannot tell which of two versions in
// labels is newer, and a page may show any version; which virt-launcher is outdated, KubeVirt says, and no page.
func currentVersion() Recording {
	return Recording{
		Name: CurrentVersion,
		Expr: `topk by (cluster) (1,
  count by (cluster, hypervisor_version) (
    ` + ofLaunchers("false") + `
  )
)`,
		Meaning: "The version of QEMU that VMs get when they start now, and how many have it: the most frequent one of those whose virt-launcher KubeVirt does not call outdated. Absent without KubeVirt's metrics. Recorded every 5 minutes.",
	}
}

func outdatedCount() Recording {
	return Recording{
		Name: OutdatedCount,
		Expr: `count by (cluster) (
  group by (cluster, namespace, name) (
    ` + ofLaunchers("true") + `
    unless on (cluster, hypervisor_version)
      ` + recorded(CurrentVersion, "") + `
    and on (cluster)
      ` + recorded(CurrentVersion, "") + `
  )
)`,
		Meaning: "VMs whose virt-launcher KubeVirt calls outdated, and whose QEMU is of another version than the current one. Absent, not 0, while there is none. Recorded every 5 minutes.",
	}
}

func outdatedQEMU() Alert {
	return Alert{
		Name:        "VirtualMachinesOnOutdatedQEMU",
		Expr:        recorded(OutdatedCount, ""),
		For:         3 * 24 * time.Hour,
		Severity:    Info,
		Summary:     "VMs have run on an outdated QEMU for three days.",
		Description: `VMs run a QEMU of another version than VMs that start now, in a virt-launcher that KubeVirt calls outdated: {{ $value }} of them. For 3 days there have been such VMs. Restart or migrate them before the next upgrade.`,
		Why:         "KubeVirt decides what is outdated: versions cannot be ordered in PromQL. Silent if KubeVirt's metrics are not scraped. The time starts again if Prometheus was down for more than an hour.",
	}
}
