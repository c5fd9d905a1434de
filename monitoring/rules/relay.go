package rules

import "time"

// nodesWithoutRelay gives the nodes whose relay does not answer, and those that have no
// relay at all while none of their VMs can be scraped and other nodes have one.
func nodesWithoutRelay() string {
	return `max by (cluster, node) (up` + ofRelay + `) == 0
  or
  (
    group by (cluster, node) (` + recorded(Down, "") + `)
    unless on (cluster, node) ` + recorded(NodeCount, "") + `
    unless on (cluster, node) up` + ofRelay + `
    and on (cluster) up` + ofRelay + `
  )`
}

func relay() Group {
	return Group{Name: "hypervisor-exporter-relay", Alerts: []Alert{relayDown()}}
}

func relayDown() Alert {
	return Alert{
		Name:        "HypervisorExporterRelayDown",
		Expr:        nodesWithoutRelay(),
		For:         5 * time.Minute,
		Severity:    Warning,
		Summary:     "A node's relay does not answer.",
		Description: `The relay on node {{ $labels.node }} has not answered Prometheus for 5 minutes, or does not exist. VMs on that node cannot be scraped; the VMs themselves are not affected.`,
	}
}
