package rules

import "time"

// relayDownExpr gives the nodes whose relay does not answer, and those that have no
// relay at all while no VM of theirs can be scraped and other nodes have one.
const relayDownExpr = `max by (cluster, node) (up` + ofRelay + `) == 0
  or
  (
    max by (cluster, node) (up` + ofVMs + `) == 0
    unless on (cluster, node) up` + ofRelay + `
    and on (cluster) up` + ofRelay + `
  )`

func relay() Group {
	return Group{Name: "hypervisor-exporter-relay", Alerts: []Alert{relayDown()}}
}

func relayDown() Alert {
	return Alert{
		Name:        "HypervisorExporterRelayDown",
		Expr:        relayDownExpr,
		For:         5 * time.Minute,
		Severity:    Warning,
		Summary:     "A node's relay does not answer.",
		Description: `The relay on node {{ $labels.node }} has not answered Prometheus for 5 minutes, or does not exist. VMs on that node cannot be scraped; the VMs themselves are not affected.`,
	}
}
