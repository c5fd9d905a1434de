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
both are made from one source. Each name leads to its runbook.

| alert | severity | meaning |
|---|---|---|
`)
	for _, alert := range Alerts() {
		fmt.Fprintf(&out, "| [%[1]s](runbooks/%[1]s.md) | %[2]s | %[3]s |\n", alert.Name, alert.Severity, alert.Summary)
	}
	out.WriteString(`
` + "`critical`" + ` is for now, ` + "`warning`" + ` for the next working day, ` + "`info`" + ` for when there is time.

## What they need

` + "The VMs' own metrics and the webhook's, from the jobs `" + VMsJob + "` and\n`" + WebhookJob + "`, and the relay's, `" + RelayJob + "`" + `.
Each rule names the job that it asks, or excludes the VMs' job: a tenant's pod can send any series through that job, but
not choose the job. If you install under other names, change them in ` + "`monitoring/rules/selectors.go`" + `.

Some use more where it is there, and are silent or less sharp where it is not:

| metrics of | used for |
|---|---|
| KubeVirt (` + "`kubevirt_vmi_info`" + `, with its label ` + "`vmi_pod`" + `) | which of two pods speaks for a VM; VirtualMachineWithoutHypervisorMetric, silent without |
| kube-state-metrics, with the label and annotation ` + "`hypervisor-exporter.kubevirt.io/inject`" + ` allowed | which namespaces are enabled, which VMs opted out |
| kube-state-metrics (` + "`kube_pod_status_phase`" + `) | HypervisorExporterTargetDown leaves out pods that have not begun |
| the API server | HypervisorExporterWebhookBypassed; silent without |
| Prometheus itself (` + "`prometheus_rule_evaluation_failures_total`" + `) | HypervisorExporterRulesFailing; silent without |

## What a page can and cannot do

A VM's owner can run a program of their own in the place of the exporter, and anyone who may create pods in a namespace can
make one under a VM's reference. ` + "`TestNoPageHarmsTheRules`" + ` serves a page for each thing that can be done to each metric that
a rule or a panel asks for, to a real Prometheus.

- It cannot name another VM, set a label that the exporter does not have, or put text of its own into an alert. Prometheus
  keeps the exact metrics, labels and values that the exporter has; ` + "`labelkeep`" + ` also removes target labels that you
  add to these PodMonitors by a scrape class or ` + "`podTargetLabels`" + `.
- It cannot make a rule or a panel fail, and does not change an alert about another VM, with one exception: it is believed
  about its own VM. A page that says its VM runs on KVM counts as a neighbour for VirtualMachineOnSoftwareEmulationBesideKVM
  on its node; two pages that change from KVM to emulation fire NodeTurnedToSoftwareEmulation; and each counts as one VM in sums.
- A pod made by hand does not win over the one that KubeVirt names in ` + "`vmi_pod`" + `. It does count where that pod shows nothing, as
  in the first moments after a migration, and where KubeVirt's metrics are not scraped. KubeVirt names a running pod of the
  VM's node by its label ` + "`kubevirt.io/created-by`" + `: who may create pods with that label on that node can be named as well.

## Runbooks

` + "`runbook_url`" + ` and the dashboard's link begin with ` + "`" + Docs + "`" + `, a name that cannot be registered, so that no one else can
answer there. With Helm, set ` + "`monitoring.docsURL`" + ` to a copy of your own. With kustomize, replace it where you apply the manifests:

` + "```sh" + `
kubectl kustomize manifests | sed 's|` + Docs + `|https://docs.example.com/hypervisor-exporter|' | kubectl apply -f -
` + "```" + `

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
` + "`" + Newest + "`" + `, which keeps one: the one that KubeVirt's metrics name; without them, the one whose
exporter saw the VM begin to run, or its type change, last. In a tie, which takes the same millisecond, either. The alerts
about emulation and about unknown VMs go on through a migration and name the new node; those that use ` + "`for`" + ` start again there.

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
