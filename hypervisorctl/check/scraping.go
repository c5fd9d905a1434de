package check

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The steps after the injection: how Prometheus scrapes the sidecars.

func (r *run) monitoring() {
	const s = monitoringSection
	namespace := r.monitorNamespace()
	monitor, err := r.reader.PodMonitor(r.ctx, namespace)
	switch {
	case absent(err):
		r.add(s.warn("kubectl apply -k manifests; without the Prometheus operator, see manifests/overlays/without-prometheus-operator/scrape-config.yaml and check with --prometheus-url",
			"PodMonitor %s does not exist, or the Prometheus operator is not installed", product.PodMonitor))
		return
	case err != nil:
		r.add(s.unread("PodMonitor "+product.PodMonitor, err))
		return
	}
	all, err := r.reader.Prometheuses(r.ctx)
	if err != nil {
		r.add(s.unread("Prometheus objects", err))
		return
	}
	namespaceLabels, err := r.reader.Namespace(r.ctx, namespace)
	if err != nil {
		r.add(s.unread("labels of the namespace "+namespace, err))
		return
	}
	r.add(selectionLine(all, monitor, namespace, namespaceLabels))
}

// monitorNamespace is the namespace of the VMs' PodMonitor: the relay's, where the token is, or the exporter's if there is
// no relay (manifests/overlays/direct).
func (r *run) monitorNamespace() string {
	if r.config.Exposure == inject.Direct {
		return r.request.Exporter
	}
	return r.request.Relay
}

func (r *run) vms() {
	found, err := survey.List(r.ctx, r.reader, survey.Request{
		Namespace: r.request.Namespace, Config: r.config, Enabled: survey.Once(r.enabled), Source: r.request.Source,
		Now: r.request.Now, Note: func(err error) { r.add(vmsSection.unread("events of VMs without a sidecar", err)) },
	}, r.request.Progress)
	if err != nil {
		r.add(vmsSection.unread("VMs", err))
		return
	}
	people := newPopulation()
	people.byPolicy = r.byPolicy
	for _, one := range found {
		people.add(one)
	}
	r.relay(people.sockets)
	r.add(people.lines(r.request.Source, r.request.Unasked)...)
}

func (r *run) relay(needed map[string]int) {
	pods, err := r.reader.Pods(r.ctx, r.request.Relay, product.RelaySelector)
	if err != nil {
		r.add(relaySection.unread("pods of the relay", err))
		return
	}
	r.relaySet()
	_, unready := relayNodes(pods)
	r.add(relayLines(pods, needed, r.asides(r.ctx, slices.Sorted(maps.Keys(unready))))...)
	r.add(r.folders(pods)...)
}

// relaySet checks the relay's DaemonSet, if there is one.
func (r *run) relaySet() {
	const s = relaySection
	set, err := r.reader.RelaySet(r.ctx, r.request.Relay)
	switch {
	case absent(err):
		return
	case err != nil:
		r.add(s.unread("DaemonSet "+product.Relay, err))
		return
	}
	injected := ""
	if r.read {
		injected = r.config.Image
	}
	r.add(imageLine(s, injected, pulled(&set.Spec.Template.Spec), "the relay's pods")...)
	var events []corev1.Event
	if set.Status.DesiredNumberScheduled > set.Status.CurrentNumberScheduled {
		err := r.reader.EachFailedCreate(r.ctx, r.request.Relay, "DaemonSet", func(event *corev1.Event) { events = append(events, *event) })
		if err != nil {
			r.add(s.unread("events of DaemonSet "+product.Relay, err))
		}
	}
	r.add(setLines(set, events)...)
}
