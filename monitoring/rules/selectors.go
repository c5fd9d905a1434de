package rules

import "time"

// The jobs of the PodMonitors in manifests/monitoring, and of the scrape
// configuration for a Prometheus without the operator. Every selector of a metric
// of ours names its job: a tenant's pod may send any series named
// hypervisor_exporter_… through the VMs' job, but cannot choose the job.
const (
	VMsJob     = "hypervisor-exporter/hypervisor-exporter-vms"
	WebhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"
	RelayJob   = "hypervisor-exporter-relay/hypervisor-exporter-relay"
)

const (
	ofVMs     = `{job="` + VMsJob + `"}`
	ofWebhook = `{job="` + WebhookJob + `"}`
	ofRelay   = `{job="` + RelayJob + `"}`
)

// Repository is where docs/ can be read, for runbook_url. A copy that is published
// elsewhere changes this line and writes the rules anew.
const Repository = "https://github.com/kubevirt-hypervisor-exporter/kubevirt-hypervisor-exporter"

// RunbookURL is the page of docs/runbooks about the alert.
func RunbookURL(alert string) string {
	return Repository + "/blob/main/docs/runbooks/" + alert + ".md"
}

const (
	// emulationLasts is how long a VM runs on software emulation before it is told.
	emulationLasts = 10 * time.Minute
	// unknownLasts leaves libvirt the time to come back by itself.
	unknownLasts = 15 * time.Minute
)
