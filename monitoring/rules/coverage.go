package rules

import "time"

// down is recorded because several alerts ask for it. Of a pod with two targets, one that answers is enough.
func down() Recording {
	return Recording{
		Name:    Down,
		Expr:    `max by (cluster, namespace, name, node, pod) (up` + ofVMs + `) == 0`,
		Meaning: "0 for each VM's pod that is a target and cannot be scraped. Absent for all others.",
	}
}

// targetDown asks for the one phase of the five that kube-state-metrics shows of each pod.
func targetDown() Alert {
	return Alert{
		Name: "HypervisorExporterTargetDown",
		Expr: recorded(Down, "") + `
unless on (cluster, namespace, pod)
  kube_pod_status_phase{` + NotVMs + `,phase="Running"} == 0
unless on (cluster, node)
  (` + nodesWithoutRelay() + `)`,
		For:         10 * time.Minute,
		Severity:    Warning,
		Summary:     "A VM's exporter cannot be scraped although its pod runs.",
		Description: `Prometheus has not been able to scrape the exporter of VM {{ $labels.namespace }}/{{ $labels.name }} (pod {{ $labels.pod }}, node {{ $labels.node }}) for 10 minutes. Meanwhile the VM's hypervisor type is not known.`,
		Why:         "Discovery leaves out pods that have ended; with kube-state-metrics, the alert also ignores pods that have not started. HypervisorExporterRelayDown reports a node whose relay is down.",
	}
}

func libvirtUnreachable() Alert {
	return Alert{
		Name:        "HypervisorExporterLibvirtUnreachable",
		Expr:        `max by (cluster, namespace, name, node, pod) (hypervisor_exporter_libvirt_up` + ofVMs + `) == 0`,
		For:         5 * time.Minute,
		Severity:    Warning,
		Summary:     "A VM's libvirt does not answer the exporter.",
		Description: `The libvirt of VM {{ $labels.namespace }}/{{ $labels.name }} (pod {{ $labels.pod }}, node {{ $labels.node }}) has not answered the exporter for 5 minutes: it hangs, has ended, or refuses the exporter.`,
	}
}

func restarting() Alert {
	return Alert{
		Name: "HypervisorExporterRestarting",
		Expr: `max by (cluster, namespace, name, node, pod) (increase(hypervisor_exporter_restarts_total` + ofVMs + `[30m]) >= 3)
and on (cluster, namespace, pod) up` + ofVMs,
		Severity:    Warning,
		Summary:     "A VM's exporter keeps dying.",
		Description: `The exporter of VM {{ $labels.namespace }}/{{ $labels.name }} (pod {{ $labels.pod }}, node {{ $labels.node }}) died and was restarted about {{ $value | printf "%.0f" }} times in the last 30 minutes. The VM is not affected; some scrapes may fail.`,
		Why:         "Between two deaths the exporter may answer often enough for HypervisorExporterTargetDown to stay silent. A pod that is gone is no longer a target.",
	}
}

// enabledNamespaces are those that carry the label, by kube-state-metrics; where it
// does not show namespaces' labels, those that have an injected VM.
const enabledNamespaces = `kube_namespace_labels{` + NotVMs + `,label_hypervisor_exporter_kubevirt_io_inject="enabled"}
  or (
    group by (cluster, namespace) (up` + ofVMs + `)
    unless on (cluster) kube_namespace_labels{` + NotVMs + `,label_hypervisor_exporter_kubevirt_io_inject!=""}
  )`

// optedOut are the pods whose VM wants no sidecar, by kube-state-metrics; without it, none.
const optedOut = `(
    kube_pod_annotations{` + NotVMs + `,annotation_hypervisor_exporter_kubevirt_io_inject="false"}
    or kube_pod_labels{` + NotVMs + `,label_hypervisor_exporter_kubevirt_io_inject="false"}
  )`

// withoutMetric asks for the series of the very pod that KubeVirt names: those of another pod
// under the VM's reference do not count.
func withoutMetric() Alert {
	return Alert{
		Name: "VirtualMachineWithoutHypervisorMetric",
		Expr: `max by (cluster, namespace, name, node) (
  ` + namedPods + `
  unless on (cluster, namespace, pod) ` + optedOut + `
  unless on (cluster, namespace, name, pod) ` + info() + `
  unless on (cluster, namespace, name, pod) ` + recorded(Down, "") + `
)
and on (cluster, namespace) (
  ` + enabledNamespaces + `
)`,
		For:         15 * time.Minute,
		Severity:    Warning,
		Summary:     "A VM runs in an enabled namespace without a hypervisor metric.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} runs on node {{ $labels.node }}, by KubeVirt's metrics, in a namespace that is enabled for the exporter, but its pod has no hypervisor metric. Most likely it started before the namespace was enabled, or while the webhook was down.`,
		Why:         "Silent if KubeVirt's metrics are not scraped. Only the pod that KubeVirt names counts: anyone who may create pods can make one under a VM's reference. HypervisorExporterTargetDown reports targets that are down.",
	}
}
