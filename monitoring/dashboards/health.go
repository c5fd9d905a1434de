package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// failing counts the VMs whose gauge is 0: 0 if there is none, no series if there is no VM.
func failing(metric string) string {
	gauge := fmt.Sprintf(`max by (cluster, namespace, name, pod) (%s{job=%q,%s})`, metric, rules.VMsJob, chosen)
	return fmt.Sprintf(`count(%[1]s == 0) or count(%[1]s) * 0`, gauge)
}

// counted sums a counter of the VMs' pages by labels. It leaves out a page whose counter is NaN or grows faster than
// any exporter counts: the sum would show nothing else.
func counted(function, metric string, labels ...string) string {
	each := []string{"cluster", "namespace", "name", "node", "pod"}
	for _, label := range labels {
		if !slices.Contains(each, label) {
			each = append(each, label)
		}
	}
	return fmt.Sprintf(`sum by (%s) (max by (%s) (%s(%s{job=%q,%s}[$__rate_interval])) < 10000)`,
		strings.Join(labels, ", "), strings.Join(each, ", "), function, metric, rules.VMsJob, chosen)
}

func health() Row {
	running := fmt.Sprintf(`max by (cluster, namespace, name) (kubevirt_vmi_info{%s,phase="running",%s})`, rules.NotVMs, chosen)
	return Row{Title: "Health of the monitoring", Panels: []Panel{
		{Title: "Exporters down", Kind: Stat, Unit: Number, Width: 6, Height: 4, Bad: 1,
			Alerts:      []string{"HypervisorExporterTargetDown"},
			Description: "Their VMs' hypervisor type is not known meanwhile. HypervisorExporterTargetDown names them.",
			Queries:     []Query{{Expr: failing("up")}}},
		{Title: "libvirt unreachable", Kind: Stat, Unit: Number, Width: 6, Height: 4, Bad: 1,
			Alerts:      []string{"HypervisorExporterLibvirtUnreachable"},
			Description: "Exporters that answer and whose libvirt does not. HypervisorExporterLibvirtUnreachable names them.",
			Queries:     []Query{{Expr: failing("hypervisor_exporter_libvirt_up")}}},
		{Title: "VMs without an exporter", Kind: Stat, Unit: Number, Width: 6, Height: 4,
			Alerts:      []string{"VirtualMachineWithoutHypervisorMetric"},
			Description: "VMs that run, by KubeVirt's own metrics, and have no exporter. VMs in namespaces that are not enabled count, too.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count(%[1]s unless on (cluster, namespace, name) %[2]s) or count(%[1]s) * 0`, running, vms(""))}}},
		{Title: "Exporter versions", Kind: Stat, Unit: Number, Width: 6, Height: 4,
			Description: "More than one is normal after an upgrade: a VM keeps its exporter until it is restarted or migrated.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count(count by (version) (hypervisor_exporter_build_info{job=%q,%s}))`, rules.VMsJob, chosen)}}},
		{Title: "Exporters down, by node", Kind: Lines, Unit: Number, Width: 8, Height: 7,
			Description: "All of one node: its relay or the node is down.",
			Queries:     []Query{{Expr: fmt.Sprintf(`sum by (cluster, node) (max by (cluster, namespace, name, pod, node) (up{job=%q,%s}) == bool 0)`, rules.VMsJob, chosen), Legend: "{{node}} {{cluster}}"}}},
		{Title: "Exporter restarts, by node", Kind: Lines, Unit: Number, Width: 8, Height: 7,
			Alerts:      []string{"HypervisorExporterRestarting"},
			Description: "The supervisor restarts each of them within its container.",
			Queries:     []Query{{Expr: counted("increase", "hypervisor_exporter_restarts_total", "cluster", "node"), Legend: "{{node}} {{cluster}}"}}},
		{Title: "Exporters that do not know the type, by reason", Kind: Lines, Unit: Number, Width: 8, Height: 7,
			Description: "A VM that starts is here with libvirt for some seconds. docs/metrics.md explains the reasons.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count by (error) (hypervisor_exporter_detection_error{job=%q,%s})`, rules.VMsJob, chosen), Legend: "{{error}}"}}},
	}}
}

// quantiles returns queries for p50, p90 and p99 of a job's histogram.
func quantiles(metric, job string) []Query {
	var queries []Query
	for _, quantile := range []string{"0.5", "0.9", "0.99"} {
		queries = append(queries, Query{
			Expr:   fmt.Sprintf(`histogram_quantile(%s, sum by (le) (rate(%s_bucket{job=%q,%s}[$__rate_interval])))`, quantile, metric, job, inClusters),
			Legend: "p" + map[string]string{"0.5": "50", "0.9": "90", "0.99": "99"}[quantile],
		})
	}
	return queries
}

func webhook() Row {
	const day = 86400
	return Row{Title: "Webhook", Panels: []Panel{
		{Title: "Replicas", Kind: Stat, Unit: Number, Width: 4, Height: 8, Bad: 1, LowIsBad: true,
			Alerts:      []string{"HypervisorExporterWebhookDown"},
			Description: "Replicas that have a valid certificate, in the cluster that has the fewest. A cluster that had a webhook within the last day counts.",
			Queries: []Query{{Expr: fmt.Sprintf(`min(
  count by (cluster) (hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds{job=%[1]q,%[2]s} > time())
  or
  group by (cluster) (present_over_time(up{job=%[1]q,container!="certs",%[2]s}[1d])) * 0
)
or vector(0)`, rules.WebhookJob, inClusters)}}},
		{Title: "Certificate expires in", Kind: Stat, Unit: Seconds, Width: 4, Height: 8, Bad: 7 * day, LowIsBad: true,
			Alerts:      []string{"HypervisorExporterCertificateExpiring"},
			Description: "The webhook's serving certificate that ends first. It is renewed with 10 days left.",
			Queries:     []Query{{Expr: fmt.Sprintf(`min(hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds{job=%q,%s}) - time()`, rules.WebhookJob, inClusters)}}},
		{Title: "Admissions, by reason", Kind: Areas, Unit: Rate, Width: 6, Height: 8,
			Alerts:      []string{"HypervisorExporterWebhookErrors", "HypervisorExporterPodsRefused", "HypervisorExporterWebhookBypassed"},
			Description: "Admissions a second, by reason.",
			Queries:     []Query{{Expr: fmt.Sprintf(`sum by (reason) (rate(hypervisor_exporter_webhook_admissions_total{job=%q,%s}[$__rate_interval])) > 0`, rules.WebhookJob, inClusters), Legend: "{{reason}}"}}},
		{Title: "Rejected requests", Kind: Areas, Unit: Rate, Width: 5, Height: 8,
			Description: "Requests a second that are not admission reviews. Anyone who reaches the port can send them; no VM is affected.",
			Queries:     []Query{{Expr: fmt.Sprintf(`sum by (reason) (rate(hypervisor_exporter_webhook_rejected_requests_total{job=%q,%s}[$__rate_interval])) > 0`, rules.WebhookJob, inClusters), Legend: "{{reason}}"}}},
		{Title: "Admission latency", Kind: Lines, Unit: Seconds, Width: 5, Height: 8,
			Description: "Time that the webhook takes to answer an admission. The API server waits 2 s.",
			Queries:     quantiles("hypervisor_exporter_webhook_admission_duration_seconds", rules.WebhookJob)},
	}}
}

func relay() Row {
	return Row{Title: "Relay", Panels: []Panel{
		{Title: "Relays down", Kind: Stat, Unit: Number, Width: 8, Height: 8, Bad: 1,
			Alerts:      []string{"HypervisorExporterRelayDown"},
			Description: "Nodes whose relay does not answer: none of their VMs can be scraped. HypervisorExporterRelayDown names them.",
			Queries:     []Query{{Expr: fmt.Sprintf(`count(max by (cluster, node) (up{job=%[1]q,%[2]s}) == 0) or count(up{job=%[1]q,%[2]s}) * 0`, rules.RelayJob, inClusters)}}},
		{Title: "Relay scrapes, by result", Kind: Areas, Unit: Rate, Width: 8, Height: 8,
			Description: "Scrapes of VMs a second, by how they ended.",
			Queries:     []Query{{Expr: fmt.Sprintf(`sum by (result) (rate(hypervisor_exporter_relay_scrapes_total{job=%q,%s}[$__rate_interval])) > 0`, rules.RelayJob, inClusters), Legend: "{{result}}"}}},
		{Title: "Relay scrape latency", Kind: Lines, Unit: Seconds, Width: 8, Height: 8,
			Description: "How long scrapes of VMs take at the relay, failed ones included.",
			Queries:     quantiles("hypervisor_exporter_relay_scrape_duration_seconds", rules.RelayJob)},
	}}
}
