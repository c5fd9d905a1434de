package rules

import (
	"fmt"
	"strings"
)

// Document is docs/alerts.md.
func Document() string {
	var out strings.Builder
	out.WriteString(`# Alerts and recording rules

<!-- Generated from monitoring/rules by: go test ./monitoring/rules -update -->

They come with ` + "`manifests/monitoring/prometheusrule.yaml`" + ` and ` + "`manifests/relay/monitoring/prometheusrule.yaml`" + `, one
PrometheusRule for each part of the product. A Prometheus without the operator takes ` + "`manifests/overlays/without-prometheus-operator/rules.yaml`" + ` as a rules file;
both are made from one source. Each name leads to what to do.

| alert | severity | tells |
|---|---|---|
`)
	for _, alert := range Alerts() {
		fmt.Fprintf(&out, "| [%[1]s](runbooks/%[1]s.md) | %[2]s | %[3]s |\n", alert.Name, alert.Severity, alert.Summary)
	}
	out.WriteString(`
` + "`critical`" + ` is for now, ` + "`warning`" + ` for the next working day, ` + "`info`" + ` for when there is time.

## What they need

` + "The VMs' own metrics and the webhook's, from the jobs `" + VMsJob + "` and\n`" + WebhookJob + "`, and the relay's, `" + RelayJob + "`" + `.
Each rule asks for its job by name: a tenant's pod can send any series through the VMs' job, but not choose
the job. Who installs under other names changes them in ` + "`monitoring/rules/selectors.go`" + `.

Some use more where it is there, and are silent or less sharp where it is not:

| metrics of | used for |
|---|---|
| KubeVirt (` + "`kubevirt_vmi_info`" + `) | VirtualMachineWithoutHypervisorMetric; silent without |
| kube-state-metrics, with the label and annotation ` + "`hypervisor-exporter.kubevirt.io/inject`" + ` allowed | which namespaces are enabled, which VMs opted out |
| kube-state-metrics (` + "`kube_pod_status_phase`" + `) | HypervisorExporterTargetDown leaves out pods that have not begun |
| the API server | HypervisorExporterWebhookBypassed; silent without |

## Fewer notifications

Where several fire for one cause, Alertmanager can keep back the lesser:

` + "```yaml" + `
inhibit_rules:
- source_matchers: [alertname="VirtualMachineOnSoftwareEmulationBesideKVM"]
  target_matchers: [alertname="VirtualMachineOnSoftwareEmulation"]
  equal: [namespace, name]
- source_matchers: [alertname="NodeTurnedToSoftwareEmulation"]
  target_matchers: [alertname=~"VirtualMachineOnSoftwareEmulation.*"]
  equal: [node]
- source_matchers: [alertname="HypervisorExporterLibvirtUnreachable"]
  target_matchers: [alertname="VirtualMachineHypervisorUnknown"]
  equal: [namespace, name]
- source_matchers: [alertname="HypervisorExporterWebhookDown"]
  target_matchers: [alertname="HypervisorExporterWebhookBypassed"]
` + "```" + `

## In a migration

For the moment of the switch-over, and up to one scrape longer, two pods may show one VM. All rules build on
` + "`" + Newest + "`" + `, which keeps one: the one whose exporter saw the VM begin to run, or its type
change, last. In a tie, which takes the same millisecond, either. The alerts about emulation and about unknown
VMs go on through a migration and name the new node; those that use ` + "`for`" + ` begin anew there.

## Recording rules

| series | meaning |
|---|---|
`)
	for _, recording := range Recordings() {
		fmt.Fprintf(&out, "| `%s` | %s |\n", recording.Name, recording.Meaning)
	}
	out.WriteString(`
They are computed for one cluster: in a Prometheus that holds several, evaluate the rules in each cluster's own.

## Expressions
`)
	for _, alert := range Alerts() {
		fmt.Fprintf(&out, "\n### %s\n\n", alert.Name)
		if alert.Why != "" {
			fmt.Fprintf(&out, "%s\n\n", alert.Why)
		}
		fmt.Fprintf(&out, "```promql\n%s\n```\n", alert.Expr)
		if alert.For > 0 {
			fmt.Fprintf(&out, "\nfor `%s`\n", promDuration(alert.For))
		}
	}
	return out.String()
}
