package dashboards

import (
	"fmt"
	"strings"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// A series is one of promtool's, from minute 0 to 30.
type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// constant is a series with one value.
func constant(metric, labels string, value float64) series {
	return series{metric + "{" + labels + "}", fmt.Sprintf("%gx30", value)}
}

// counter is a series that grows by the step each minute.
func counter(metric, labels string, step float64) series {
	return series{metric + "{" + labels + "}", fmt.Sprintf("0+%gx30", step)}
}

// A vm is what a VM's page shows, the kind empty if the page cannot be scraped.
type vm struct {
	namespace, name, node, kind string
	arch, machine, qemu         string
	version                     string
	restarts                    float64
	guest                       string // the system that its guest agent names
}

func (v vm) series() []series {
	pod := "virt-launcher-" + v.name
	target := fmt.Sprintf("job=%q,namespace=%q,name=%q,node=%q,pod=%q", rules.VMsJob, v.namespace, v.name, v.node, pod)
	all := []series{running(v.namespace, v.name, v.node, pod, v.qemu != "10.0.0", v.guest)}
	if v.kind == "" {
		return append(all, constant("up", target, 0))
	}
	libvirt, domain := 1., map[string]string{"kvm": "kvm", "qemu-tcg": "qemu"}[v.kind]
	if domain == "" {
		libvirt = 0
		all = append(all, constant("hypervisor_exporter_detection_error", target+`,error="libvirt"`, 1))
	} else {
		all = append(all, constant("kubevirt_vmi_hypervisor_domain_info", target+fmt.Sprintf(
			",domain_type=%q,arch=%q,host_arch=\"x86_64\",machine=%q,hypervisor_version=%q,libvirt_version=\"10.10.0\",hyperv=\"none\",disks=%q,nics=\"virtio\"",
			domain, v.arch, v.machine, v.qemu, map[string]string{"kvm": "virtio", "qemu": "emulated"}[domain]), 1))
	}
	if v.kind == "qemu-tcg" { // QEMU of one hangs, the disk of the other failed
		all = append(all,
			constant("kubevirt_vmi_hypervisor_control_state_seconds", target+`,control_state="occupied"`, map[string]float64{"shop": 301, "build": 300}[v.namespace]),
			constant("kubevirt_vmi_hypervisor_state_info", target+`,state="paused",reason=`+map[string]string{"shop": `"user"`, "build": `"ioerror"`}[v.namespace], 1))
	}
	return append(all,
		constant("up", target, 1),
		constant("kubevirt_vmi_hypervisor_info", target+fmt.Sprintf(",hypervisor_type=%q", v.kind), 1),
		constant("hypervisor_exporter_last_change_timestamp_seconds", target, 1),
		constant("hypervisor_exporter_libvirt_up", target, libvirt),
		constant("hypervisor_exporter_build_info", target+fmt.Sprintf(",version=%q", v.version), 1),
		counter("hypervisor_exporter_restarts_total", target, v.restarts))
}

// running is KubeVirt's own series of a VM.
func running(namespace, name, node, pod string, outdated bool, guest string) series {
	return constant("kubevirt_vmi_info", fmt.Sprintf(
		`job="kubevirt-prometheus-metrics",namespace=%q,name=%q,node=%q,phase="running",vmi_pod=%q,outdated="%t",guest_os_name=%q`, namespace, name, node, pod, outdated, guest), 1)
}

// histogram is one whose observations are all in the first bucket.
func histogram(metric, labels string) []series {
	var all []series
	for _, bound := range strings.Fields("0.001 0.01 +Inf") {
		all = append(all, counter(metric+"_bucket", labels+fmt.Sprintf(",le=%q", bound), 10))
	}
	return all
}

// fleetSeries are those of a cluster without a label: what the panels show of it is in numbers and names.
func fleetSeries() []series {
	all := []series{running("legacy", "mainframe", "node-3", "virt-launcher-mainframe", false, "")}
	for _, one := range fleetVMs() {
		all = append(all, one.series()...)
	}
	for node, virtualization := range map[string]string{"node-1": "kvm", "node-2": "none"} {
		all = append(all, constant("kubevirt_node_virtualization_info",
			fmt.Sprintf("job=%q,node=%q,virtualization=%q,hardware_paging=\"on\",nested=\"on\"", rules.RelayJob, node, virtualization), 1))
	}
	for number := range 2 {
		replica := fmt.Sprintf("job=%q,container=\"webhook\",pod=\"hypervisor-exporter-webhook-%d\"", rules.WebhookJob, number)
		all = append(all,
			constant("up", replica, 1),
			constant("hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds", replica, 20*86400+30*60),
			counter("hypervisor_exporter_webhook_admissions_total", replica+`,result="injected",reason="injected"`, 10),
			counter("hypervisor_exporter_webhook_admissions_total", replica+`,result="error",reason="panic"`, 0),
			counter("hypervisor_exporter_webhook_rejected_requests_total", replica+`,reason="not_a_review"`, 1))
		all = append(all, histogram("hypervisor_exporter_webhook_admission_duration_seconds", replica)...)

		relay := fmt.Sprintf("job=%q,node=\"node-%d\"", rules.RelayJob, number)
		all = append(all, constant("up", relay, 1),
			counter("hypervisor_exporter_relay_scrapes_total", relay+`,result="ok"`, 34),
			counter("hypervisor_exporter_relay_scrapes_total", relay+`,result="timeout"`, 0))
		all = append(all, histogram("hypervisor_exporter_relay_scrape_duration_seconds", relay)...)
	}
	return all
}

func fleetVMs() []vm {
	return []vm{
		{"shop", "web-1", "node-1", "kvm", "x86_64", "q35", "9.1.0", "v1", 0, "Microsoft Windows"},
		{"shop", "web-2", "node-2", "kvm", "x86_64", "q35", "10.0.0", "v2", 0, "Fedora Linux"},
		{"shop", "slow", "node-2", "qemu-tcg", "x86_64", "q35", "9.1.0", "v1", 0, ""},
		{"office", "ledger", "node-2", "unknown", "", "", "", "v1", 0, ""},
		{"office", "scanner", "node-3", "", "", "", "", "", 0, ""},
		{"build", "arm", "node-3", "qemu-tcg", "aarch64", "virt", "9.1.0", "v1", 1, ""},
	}
}

// twinSeries are those of a cluster with VMs and nodes of the same names in other states: what was on KVM is emulated and the
// reverse, all that did not answer does, and the webhook and the relays, which did, do not.
func twinSeries() []series {
	other := map[string]string{"kvm": "qemu-tcg", "qemu-tcg": "kvm", "unknown": "kvm", "": "kvm"}
	var all []series
	for _, one := range fleetVMs() {
		one.kind, one.arch, one.machine, one.qemu, one.version = other[one.kind], "x86_64", "q35", "8.2.0", "v3"
		all = append(all, one.series()...)
	}
	for number := range 2 {
		all = append(all, constant("up", fmt.Sprintf("job=%q,node=\"node-%d\"", rules.RelayJob, number), 0),
			constant("up", fmt.Sprintf("job=%q,container=\"webhook\",pod=\"hypervisor-exporter-webhook-%d\"", rules.WebhookJob, number), 0))
	}
	return all
}

// in returns the series with the label of a cluster, which Prometheus adds when it sends them on.
func in(cluster string, all []series) []series {
	for i := range all {
		all[i].Series = strings.Replace(all[i].Series, "{", fmt.Sprintf("{cluster=%q,", cluster), 1)
	}
	return all
}
