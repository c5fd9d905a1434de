package rules

import (
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// The jobs of the PodMonitors in manifests/monitoring, and of the scrape
// configuration for a Prometheus without the operator. Every selector of a metric
// of ours names its job: a tenant's pod may send any series named
// hypervisor_exporter_… through the VMs' job, but cannot choose the job.
const (
	VMsJob     = "hypervisor-exporter/hypervisor-exporter-vms"
	WebhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"
	RelayJob   = "hypervisor-exporter-relay/hypervisor-exporter-relay"
)

// A tenant's page can name its series as it likes. Prometheus' configuration keeps none but
// ours; should that be missing, these matchers keep a page's series apart: each metric of ours
// is asked of its job, and every other series of any job but the VMs'.
const (
	ofVMs     = `{job="` + VMsJob + `"}`
	ofWebhook = `{job="` + WebhookJob + `"}`
	ofRelay   = `{job="` + RelayJob + `"}`
	// NotVMs is the matcher for recorded series and for those of other products.
	NotVMs = `job!="` + VMsJob + `"`
)

// info selects what VMs' pages say of the hypervisor. A genuine series is always 1; NaN and
// the infinities are not. The types are listed, since the label becomes one of alerts.
func info() string {
	return `kubevirt_vmi_hypervisor_info{job="` + VMsJob + `",hypervisor_type=~"` + strings.Join(exposition.HypervisorTypes(), "|") + `"} == 1`
}

// domain selects what VMs' pages say of their libvirt domain.
func domain(matchers string) string {
	return `kubevirt_vmi_hypervisor_domain_info{job="` + VMsJob + `",` + matchers + `}`
}

// recorded selects series that a recording rule made.
func recorded(name, matchers string) string {
	if matchers != "" {
		matchers = "," + matchers
	}
	return name + "{" + NotVMs + matchers + "}"
}

// namedPods gives, for each running VMI, 1 with the name of its pod as KubeVirt knows it. The
// aggregation leaves one series a pod, so that label_replace makes no two of one name.
const namedPods = `label_replace(
      group by (namespace, name, node, vmi_pod) (kubevirt_vmi_info{` + NotVMs + `,phase="running",vmi_pod!~"|<none>"}),
      "pod", "$1", "vmi_pod", "(.+)"
    )`

// Docs is where docs/ can be read, for runbook_url and the dashboard's link. The name cannot
// be registered (RFC 6761), so that no one else can answer there; docs/alerts.md says how to
// set it to a copy of your own.
const Docs = "https://hypervisor-exporter.invalid/docs"

// RunbookURL is the page of docs/runbooks about the alert.
func RunbookURL(alert string) string {
	return Docs + "/runbooks/" + alert + ".md"
}

const (
	// emulationLasts is how long a VM runs on software emulation before an alert fires.
	emulationLasts = 10 * time.Minute
	// unknownLasts leaves libvirt the time to come back by itself.
	unknownLasts = 15 * time.Minute
)
