package rules

import "time"

// relayDownExpr gives the nodes whose relay does not answer, and those that have no
// relay at all while no VM of theirs can be scraped and other nodes have one.
const relayDownExpr = `max by (node) (up` + ofRelay + `) == 0
  or
  (
    max by (node) (up` + ofVMs + `) == 0
    unless on (node) up` + ofRelay + `
    and on () up` + ofRelay + `
  )`

func relay() Group {
	return Group{Name: "hypervisor-exporter-relay", Alerts: []Alert{relayDown()}}
}

func relayDown() Alert {
	return Alert{
		Name:        "HypervisorExporterRelayDown",
		Expr:        relayDownExpr,
		For:         5 * time.Minute,
		Severity:    Critical,
		Summary:     "A node's relay does not answer.",
		Description: `The relay on node {{ $labels.node }} has not answered Prometheus for 5 minutes, or does not exist. VMs on that node cannot be scraped; the VMs themselves are not affected.`,
	}
}
