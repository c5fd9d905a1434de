package scrape

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// A pod is one that discovery finds, and its page.
type pod struct {
	namespace, name, node string
	vm                    string            // the name in its controller's reference
	meta                  map[string]string // further __meta_kubernetes_ labels, by the rest of their names
	cluster               string            // the label that the administrator gives the target, none if empty
	page                  func(now moment) string
}

// A moment is what pages depend on.
type moment struct {
	age    time.Duration // since the pods began
	turned bool          // whether node-3 has lost KVM
}

// discovered is what Prometheus' discovery of pods knows about it.
func (p pod) discovered() map[string]string {
	labels := map[string]string{
		"namespace": p.namespace, "pod_name": p.name, "pod_uid": p.uid(), "pod_node_name": p.node, "pod_host_ip": "192.0.2.2",
		"pod_ip": "192.0.2.1", "pod_phase": "Running", "pod_ready": "true", "pod_controller_kind": "VirtualMachineInstance",
		"pod_controller_name": p.vm, "pod_container_name": "hypervisor-exporter", "pod_container_port_name": "hv-metrics",
		"pod_container_init": "true", "pod_label_kubevirt_io": "virt-launcher", "pod_annotation_kubevirt_io_domain": p.vm,
	}
	for name, value := range p.meta {
		labels[name] = value
	}
	all := map[string]string{}
	if p.cluster != "" {
		all["cluster"] = p.cluster
	}
	for name, value := range labels {
		all["__meta_kubernetes_"+name] = value
	}
	return all
}

func (p pod) uid() string { return p.namespace + "." + p.name }

// A state is what a genuine page shows of its VM.
type state struct {
	hypervisor, domain, arch string
	libvirt                  int
	restarts                 float64
	change                   float64
}

func onKVM() state {
	return state{hypervisor: "kvm", domain: "kvm", arch: "x86_64", libvirt: 1, change: 1000}
}
func emulated() state {
	return state{hypervisor: "qemu-tcg", domain: "qemu", arch: "x86_64", libvirt: 1, change: 1000}
}

// lines are the page's series, by metric.
func (s state) lines() map[string]string {
	lines := map[string]string{
		"kubevirt_vmi_hypervisor_info":                      fmt.Sprintf("{namespace=\"n\",name=\"v\",node=\"w\",hypervisor_type=%q} 1", s.hypervisor),
		"hypervisor_exporter_libvirt_up":                    fmt.Sprintf(" %d", s.libvirt),
		"hypervisor_exporter_libvirt_connects_total":        " 1",
		"hypervisor_exporter_detection_error":               `{error="xml"} 1`,
		"kubevirt_vmi_hypervisor_state_info":                `{namespace="n",name="v",node="w",state="running",reason="booted"} 1`,
		"kubevirt_vmi_hypervisor_control_state_seconds":     `{namespace="n",name="v",node="w",control_state="ok"} 0`,
		"hypervisor_exporter_restarts_total":                fmt.Sprintf(" %g", s.restarts),
		"hypervisor_exporter_last_change_timestamp_seconds": fmt.Sprintf(" %g", s.change),
		"hypervisor_exporter_build_info":                    `{version="v0.1.0",revision="unknown",branch="",goversion="go1.26",goos="linux",goarch="amd64",tags="nethttpomithttp2"} 1`,
	}
	if s.domain != "" {
		lines["kubevirt_vmi_hypervisor_domain_info"] = fmt.Sprintf(
			"{namespace=\"n\",name=\"v\",node=\"w\",domain_type=%q,arch=%q,machine=\"pc-q35-9.1\",hypervisor_version=\"9.1.0\",libvirt_version=\"10.10.0\","+
				"host_arch=\"x86_64\",cpu_model=\"EPYC-Rome\",hyperv=\"none\",launch_security=\"none\",memory=\"normal\",disks=\"virtio\",nics=\"\"} 1", s.domain, s.arch)
	}
	return lines
}

// page writes series, and then other lines as they are.
func page(series map[string]string, more ...string) string {
	var out strings.Builder
	for metric, rest := range series {
		out.WriteString(metric + rest + "\n")
	}
	out.WriteString(strings.Join(more, "\n") + "\n")
	return out.String()
}

// honest are the VMs about which alerts must be as if nothing else were there, in the namespace honest.
func honest() []pod {
	one := func(name, node string, change func(s *state, now moment)) pod {
		return pod{namespace: "honest", name: "virt-launcher-" + name, node: node, vm: name, page: func(now moment) string {
			s := onKVM()
			change(&s, now)
			return page(s.lines())
		}}
	}
	slow := func(s *state, _ moment) { *s = emulated() }
	turned := func(s *state, now moment) {
		if now.turned {
			*s = emulated()
		}
	}
	deaf := one("deaf", "node-1", slow)
	deaf.page = nil
	named := one("mine", "node-1", func(*state, moment) {})
	named.meta = map[string]string{"pod_annotation_kubevirt_io_domain": "web", "pod_label_kubevirt_io": "x"}
	spaced := one("spaced", "node-1", func(*state, moment) {})
	spaced.meta = map[string]string{"pod_annotation_kubevirt_io_domain": "My VM"}
	long := one("long", "node-1", func(*state, moment) {})
	long.meta = map[string]string{"pod_annotation_kubevirt_io_domain": strings.Repeat("x", 250_000)}
	byHand := one("kvm", "node-2", slow)
	byHand.name = "made-by-hand"
	byHand.page = func(moment) string {
		s := emulated()
		s.change = math.Inf(1)
		return page(s.lines())
	}
	foreign := func(s *state, _ moment) { *s, s.arch = emulated(), "aarch64" }
	hiding := one("slow", "node-2", foreign) // would make the emulation of slow one that is intended
	hiding.name = "made-by-hand-too"
	return []pod{
		one("kvm", "node-1", func(*state, moment) {}), byHand, hiding, one("arm", "node-1", foreign), named, spaced, long, deaf,
		one("web", "node-1", slow),
		one("slow", "node-2", slow), // tenants' pages of the same node lie about KVM
		one("mute", "node-2", func(s *state, _ moment) { s.hypervisor, s.domain, s.libvirt = "unknown", "", 0 }),
		one("xen", "node-2", func(s *state, _ moment) { s.hypervisor, s.domain = "unknown", "xen" }),
		one("dying", "node-1", func(s *state, now moment) { s.restarts = math.Floor(now.age.Seconds()) }),
		one("turned-1", "node-3", turned), one("turned-2", "node-3", turned),
	}
}

// wanted are the alerts that the honest VMs give, as labels.
func wanted() []string {
	vm := func(alert, name, node string, more ...string) string {
		return fmt.Sprint(alert, " honest/", name, " ", node, " ", strings.Join(more, " "))
	}
	alerts := []string{
		vm("VirtualMachineOnSoftwareEmulation", "web", "node-1"),
		vm("VirtualMachineOnSoftwareEmulationBesideKVM", "web", "node-1"),
		vm("VirtualMachineOnSoftwareEmulation", "slow", "node-2"),
		vm("VirtualMachineOnSoftwareEmulation", "turned-1", "node-3"),
		vm("VirtualMachineOnSoftwareEmulation", "turned-2", "node-3"),
		"NodeTurnedToSoftwareEmulation / node-3 ",
		vm("VirtualMachineHypervisorUnknown", "mute", "node-2"),
		vm("VirtualMachineDomainTypeOther", "xen", "node-2", "xen"),
		vm("HypervisorExporterTargetDown", "deaf", "node-1", "virt-launcher-deaf"),
		vm("HypervisorExporterLibvirtUnreachable", "mute", "node-2", "virt-launcher-mute"),
		vm("HypervisorExporterRestarting", "dying", "node-1", "virt-launcher-dying"),
		vm("VirtualMachineWithoutHypervisorMetric", "bare", "node-1"),
		"VirtualMachinesOfAnotherArchitecture /  ",
		"VirtualMachinesOnNestedVirtualization /  kvm",
	}
	return alerts
}

// others are the jobs beside the VMs', with what they serve.
func others(address string) map[string]any {
	job := func(name, path string) map[string]any {
		return map[string]any{"job_name": name, "honor_labels": true, "metrics_path": path,
			"static_configs": []any{map[string]any{"targets": []string{address}}}}
	}
	return map[string]any{
		"/kubevirt": job("kubevirt-prometheus-metrics", "/kubevirt"),
		"/webhook":  job(rules.WebhookJob, "/webhook"),
		"/relay":    job(rules.RelayJob, "/relay"),
	}
}

// kubevirtPage is what KubeVirt and kube-state-metrics say: also of a VM that no exporter shows.
func kubevirtPage() string {
	lines := []string{`kube_namespace_labels{namespace="honest",label_hypervisor_exporter_kubevirt_io_inject="enabled"} 1`}
	bare := pod{namespace: "honest", name: "virt-launcher-bare", node: "node-1", vm: "bare"}
	for _, one := range append(honest(), bare) {
		if !strings.HasPrefix(one.name, "made-by-hand") {
			lines = append(lines, fmt.Sprintf("kubevirt_vmi_info{namespace=%q,name=%q,node=%q,phase=\"running\",vmi_pod=%q} 1", one.namespace, one.vm, one.node, one.name))
		}
	}
	return page(nil, lines...)
}

// answers serves all pages, each by its path, as relays and the other jobs do. The pods' age
// begins now.
func answers(pods []pod, turned *atomic.Bool) http.Handler {
	began := time.Now()
	byPath := map[string]pod{}
	for _, one := range pods {
		byPath["/pods/"+one.uid()+"/metrics"] = one
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		switch one, isPod := byPath[r.URL.Path]; {
		case isPod && one.page != nil:
			_, _ = io.WriteString(w, one.page(moment{time.Since(began), turned.Load()}))
		case r.URL.Path == "/kubevirt":
			_, _ = io.WriteString(w, kubevirtPage())
		case r.URL.Path == "/webhook":
			_, _ = fmt.Fprintf(w, "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds %d\n", time.Now().Add(1000*time.Hour).Unix())
		case r.URL.Path == "/relay":
			_, _ = io.WriteString(w, `kubevirt_node_virtualization_info{node="node-1",virtualization="kvm"} 1`+"\n")
		default:
			http.Error(w, "no such page", http.StatusBadGateway)
		}
	})
}
