package check

import (
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The steps after the injection: how the sidecars are scraped.

func (r *run) monitoring() {
	const s = monitoringSection
	namespace := r.monitorNamespace()
	monitor, err := r.reader.PodMonitor(r.ctx, namespace)
	switch {
	case absent(err):
		r.add(s.warn("kubectl apply -k manifests; without the Prometheus operator, see manifests/overlays/without-prometheus-operator/scrape-config.yaml and check with --prometheus-url",
			"PodMonitor %s is not there, or the Prometheus operator is not", product.PodMonitor))
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

// monitorNamespace is where the VMs' PodMonitor is: beside the relay's token, or with the exporter where there is no relay
// (manifests/overlays/direct).
func (r *run) monitorNamespace() string {
	if r.config.Exposure == inject.Direct {
		return r.request.Exporter
	}
	return r.request.Relay
}

func (r *run) vms() {
	const s = vmsSection
	found := map[string]vm.VMI{}
	if err := r.reader.EachVMI(r.ctx, r.request.Namespace, "", func(vmi vm.VMI) { found[vmi.UID] = vmi }); err != nil {
		r.add(s.unread("VMIs", err))
		return
	}
	launchers := map[string][]vm.Launcher{}
	err := r.reader.EachLauncher(r.ctx, r.request.Namespace, r.config, func(launcher vm.Launcher) {
		launchers[launcher.Owner] = append(launchers[launcher.Owner], launcher)
	})
	if err != nil {
		r.add(s.unread("virt-launcher pods", err))
		return
	}
	people := newPopulation()
	expected, missing := 0, []string(nil)
	known := map[string]vm.Enabled{}
	for uid, vmi := range found {
		if _, asked := known[vmi.Namespace]; !asked {
			known[vmi.Namespace] = r.enabled(vmi.Namespace)
		}
		var launcher *vm.Launcher
		if chosen, ok := vm.Choose(vmi, launchers[uid]); ok {
			launcher = &chosen
		}
		people.add(vmi, launcher, known[vmi.Namespace])
		if r.request.Prometheus == nil || vm.Diagnose(vmi, launcher, known[vmi.Namespace]).Why != vm.Expected {
			continue
		}
		expected++
		if _, err := r.request.Prometheus.Look(r.ctx, source.Target{VMI: vmi, Launcher: *launcher}); err != nil {
			missing = append(missing, vmi.Key().String())
		}
	}
	r.relay(people.sockets)
	r.add(people.lines()...)
	if r.request.Prometheus != nil {
		r.add(seriesLine(expected, missing))
	}
}

func (r *run) relay(needed map[string]int) {
	pods, err := r.reader.Pods(r.ctx, r.request.Relay, product.RelaySelector)
	if err != nil {
		r.add(relaySection.unread("pods of the relay", err))
		return
	}
	r.add(relayLines(pods, needed)...)
}
