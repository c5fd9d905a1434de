// Package scrape is the one source of what Prometheus takes from a VM's pod: who may be a
// target, what the target is called, and which series of its page are kept. Its tests write
// that into the PodMonitors of the manifests, the chart's template and the scrape
// configuration for a Prometheus without the operator.
package scrape
