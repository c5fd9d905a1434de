package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// UID and VMUID identify the dashboards in their addresses and in links to them.
const (
	UID   = "kubevirt-hypervisor"
	VMUID = "kubevirt-hypervisor-vm"
)

// A Page is one dashboard.
type Page struct {
	File        string // in manifests/monitoring
	UID         string
	Title       string
	Description string
	Rows        []Row
	Variables   []cog.Builder[dashboard.VariableModel]
}

// Pages lists the dashboards.
func Pages() []Page {
	return []Page{{
		File: "dashboard.json", UID: UID, Title: "KubeVirt / Hypervisor",
		Description: "What really executes the VMs (KVM or software emulation), what makes them slow, and whether the monitoring works.",
		Rows:        []Row{fleet(), emulated(), stopped(), nodes(), health(), webhook(), relay()},
		Variables:   fleetVariables(),
	}, {
		File: "dashboard-vm.json", UID: VMUID, Title: "KubeVirt / Hypervisor / VM",
		Description: "What executes one VM, what may make it slow, and what it was before it was migrated or restarted.",
		Rows:        []Row{now(), facts(), history()},
		Variables:   vmVariables(),
	}}
}
