// Package scrape is the source of what Prometheus takes from a VM's pod: which pods are targets, the labels of a target,
// and which series of its page are kept. Its test writes that into the VMs' PodMonitor and into the scrape configuration
// for a Prometheus without the operator.
package scrape
