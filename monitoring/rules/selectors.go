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

// A tenant's page can have series of any name. The scrape configuration drops all but the exporter's; if that is missing,
// these matchers still exclude a page's series: the product's metrics are selected by job, all others exclude the VMs' job.
const (
	ofVMs     = `{job="` + VMsJob + `"}`
	ofWebhook = `{job="` + WebhookJob + `"}`
	ofRelay   = `{job="` + RelayJob + `"}`
	// NotVMs is the matcher for recorded series and for those of other products.
	NotVMs = `job!="` + VMsJob + `"`
)

// info selects the VMs' hypervisor types. A genuine series is always 1, never NaN or infinite. The types are listed,
// because the label becomes one of alerts.
func info() string {
	return `kubevirt_vmi_hypervisor_info{job="` + VMsJob + `",hypervisor_type=~"` + strings.Join(exposition.HypervisorTypes(), "|") + `"} == 1`
}

// domain selects the VMs' libvirt domains.
func domain(matchers string) string {
	return selector("kubevirt_vmi_hypervisor_domain_info", `job="`+VMsJob+`"`, matchers)
}

// recorded selects series that a recording rule made.
func recorded(name, matchers string) string { return selector(name, NotVMs, matchers) }

func selector(name, job, matchers string) string {
	if matchers != "" {
		matchers = "," + matchers
	}
	return name + "{" + job + matchers + "}"
}

// namedPods is 1 for each running VMI, with the name of its pod by KubeVirt's metric. The aggregation leaves one series for
// each pod, so label_replace never makes two with the same labels.
const namedPods = `label_replace(
      group by (cluster, namespace, name, node, vmi_pod) (kubevirt_vmi_info{` + NotVMs + `,phase="running",vmi_pod!~"|<none>"}),
      "pod", "$1", "vmi_pod", "(.+)"
    )`

// Docs is where docs/ can be read, for runbook_url and the dashboard's link. The name cannot
// be registered (RFC 6761), so that no one else can answer there; docs/alerts.md says how to
// set it to a copy of your own. A release's plugin is built with the release's (Makefile).
var Docs = "https://hypervisor-exporter.invalid/docs"

// RunbookURL is the page of docs/runbooks about the alert.
func RunbookURL(alert string) string {
	return Docs + "/runbooks/" + alert + ".md"
}

const (
	// emulationLasts is how long a VM runs on software emulation before an alert fires.
	emulationLasts = 10 * time.Minute
	// unknownLasts gives libvirt time to recover by itself.
	unknownLasts = 15 * time.Minute
)
