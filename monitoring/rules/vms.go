package rules

import "time"

// The recorded series that alerts and dashboards build on.
const (
	Newest        = "vmi:kubevirt_vmi_hypervisor_info:newest"
	NodeCount     = "node_hypervisor_type:kubevirt_vmi_hypervisor_info:count"
	ClusterCount  = "hypervisor_type:kubevirt_vmi_hypervisor_info:count"
	EmulatedRatio = "cluster:kubevirt_vmi_hypervisor_info:emulated_ratio"
)

// vms is what is asked of each VM. The alerts stand in one group with the recordings:
// in another they could read what was recorded before a VM stopped.
func vms() Group {
	return Group{
		Name:       "hypervisor-exporter-vms",
		Recordings: []Recording{newest(), nodeCount(), clusterCount(), emulatedRatio()},
		Alerts: []Alert{
			onEmulation(), besideKVM(), unknown(), otherDomainType(),
			targetDown(), restarting(), libvirtUnreachable(), withoutMetric(),
		},
	}
}

// nodes looks back over a day and is therefore evaluated less often.
func nodes() Group {
	return Group{
		Name:     "hypervisor-exporter-nodes",
		Interval: 5 * time.Minute,
		Alerts:   []Alert{nodeTurned()},
	}
}

func newest() Recording {
	return Recording{
		Name: Newest,
		Expr: `group by (namespace, name, node, hypervisor_type) (
  topk by (namespace, name) (1,
    kubevirt_vmi_hypervisor_info` + ofVMs + `
    * ignoring (hypervisor_type) group_left ()
    hypervisor_exporter_last_change_timestamp_seconds` + ofVMs + `
  )
)`,
		Meaning: "One series for each VMI, 1 while it runs. Where two nodes show the VMI, as they may between two scrapes of a migration, it is the one on which it began to run, or changed its type, last.",
		Why:     "The two metrics come from one page, so they share all labels but hypervisor_type, whatever labels a target has.",
	}
}

func nodeCount() Recording {
	return Recording{
		Name:    NodeCount,
		Expr:    `count by (node, hypervisor_type) (` + Newest + `)`,
		Meaning: "VMs of each type on each node. A type that no VM of the node has is absent, not 0.",
	}
}

func clusterCount() Recording {
	return Recording{
		Name:    ClusterCount,
		Expr:    `count by (hypervisor_type) (` + Newest + `)`,
		Meaning: "VMs of each type in the cluster. A type that no VM has is absent, not 0.",
	}
}

func emulatedRatio() Recording {
	return Recording{
		Name: EmulatedRatio,
		Expr: `(
  sum(` + ClusterCount + `{hypervisor_type="qemu-tcg"})
  or
  sum(` + ClusterCount + `) * 0
)
/ sum(` + ClusterCount + `)`,
		Meaning: "Share of the running VMs that are on software emulation, 0 to 1. Absent while no VM is seen.",
	}
}
