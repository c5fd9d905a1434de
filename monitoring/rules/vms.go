package rules

import "time"

// The recorded series that alerts and dashboards build on.
const (
	Newest        = "vmi:kubevirt_vmi_hypervisor_info:newest"
	NodeCount     = "node_hypervisor_type:kubevirt_vmi_hypervisor_info:count"
	ClusterCount  = "hypervisor_type:kubevirt_vmi_hypervisor_info:count"
	EmulatedRatio = "cluster:kubevirt_vmi_hypervisor_info:emulated_ratio"
	Down          = "vmi_pod:up:down"
)

// vms is what is asked of each VM, and may change at any moment. The alerts are in one group with the recordings:
// in another they could read what was recorded before a VM stopped.
func vms() Group {
	return Group{
		Name:       "hypervisor-exporter-vms",
		Recordings: []Recording{newest(), nodeCount(), clusterCount(), emulatedRatio(), crossArchitecture(), down()},
		Alerts: []Alert{
			onEmulation(), besideKVM(), unknown(), otherDomainType(),
			pausedByError(), monitorStuck(),
			targetDown(), restarting(), libvirtUnreachable(),
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

// newest settles which pod, and which of its series, speaks for a VMI. The join is by labels
// that Prometheus gave the targets, with one series for each on its right side, so that
// nothing on a page can make it fail: one failure would end the rule for all VMs. The pod that
// KubeVirt names has a rank above every clock; a clock is bounded by Prometheus' own, and NaN
// ranks last. topk keeps one series, in a tie too.
func newest() Recording {
	return Recording{
		Name: Newest,
		Expr: `group by (cluster, namespace, name, node, hypervisor_type) (
  topk by (cluster, namespace, name) (1,
    (` + info() + `)
    * on (cluster, namespace, name, node, pod) group_left ()
    max by (cluster, namespace, name, node, pod) (
      1e11 * ` + namedPods + `
      or
      clamp(hypervisor_exporter_last_change_timestamp_seconds` + ofVMs + `, 0, time())
    )
  )
)`,
		Meaning: "One series for each VMI, 1 while it runs. If two pods show the VMI, as between two scrapes of a migration, it is the series of the pod that KubeVirt's metrics name; without these, of the pod in which the VMI started, or changed its type, last.",
		Why:     "Nothing on a page can make the join fail or replace another VM's series.",
	}
}

func nodeCount() Recording {
	return Recording{
		Name:    NodeCount,
		Expr:    `count by (cluster, node, hypervisor_type) (` + recorded(Newest, "") + `)`,
		Meaning: "VMs of each type on each node. A type that no VM of the node has is absent, not 0.",
	}
}

func clusterCount() Recording {
	return Recording{
		Name:    ClusterCount,
		Expr:    `sum by (cluster, hypervisor_type) (` + recorded(NodeCount, "") + `)`,
		Meaning: "VMs of each type in the cluster. A type that no VM has is absent, not 0.",
	}
}

func emulatedRatio() Recording {
	all := `sum by (cluster) (` + recorded(ClusterCount, "") + `)`
	return Recording{
		Name: EmulatedRatio,
		Expr: `(
  sum by (cluster) (` + recorded(ClusterCount, `hypervisor_type="qemu-tcg"`) + `)
  or
  ` + all + ` * 0
)
/ ` + all,
		Meaning: "Share of the running VMs that are on software emulation, 0 to 1. Absent while no VM is seen.",
	}
}
