package promtest

import (
	"fmt"
	"strings"
	"time"
)

const (
	// History is how long the fleet has been watched.
	History = 6 * time.Hour
	// Step is the time between two samples.
	Step = time.Minute

	samples = int(History / Step)
	// absence is how many samples a VM is away when it changes. Written history has no
	// stale markers, so that with less the old series would still be there.
	absence = 6
	vmsJob  = "hypervisor-exporter/hypervisor-exporter-vms"
)

// A vm runs in one pod from one sample to another.
type vm struct {
	namespace, name, node  string
	kind, domain, arch     string
	qemu, libvirt, version string
	first, last            int
	deafFrom               int // the sample from which it cannot be scraped; 0 is never
	diesFrom               int // the sample from which its exporter dies every tenth; 0 is never
}

// fleet is five nodes with some forty VMs. node-4 lost KVM when it was booted two
// hours ago; one guest is of another architecture; one VM's libvirt is not heard,
// one exporter cannot be scraped, and one keeps dying.
func fleet() []vm {
	boot := samples - 120
	var all []vm
	add := func(namespace, name, node string, change func(*vm)) {
		one := vm{namespace: namespace, name: name, node: node, kind: "kvm", domain: "kvm", arch: "x86_64",
			qemu: "9.1.0", libvirt: "10.10.0", version: "v0.1.0", last: samples}
		if node == "node-1" || node == "node-2" {
			one.qemu, one.libvirt = "10.0.0", "11.0.0" // upgraded already
		}
		if change != nil {
			change(&one)
		}
		all = append(all, one)
	}
	for i, namespace := range []string{"shop", "office", "build"} {
		for number := range 13 {
			node := fmt.Sprintf("node-%d", (number+i)%5+1)
			name := fmt.Sprintf("%s-%02d", []string{"web", "desktop", "runner"}[i], number)
			if node != "node-4" {
				add(namespace, name, node, nil)
				continue
			}
			add(namespace, name, node, func(v *vm) { v.last = boot })
			add(namespace, name, node, func(v *vm) { v.first, v.kind, v.domain = boot+absence, "qemu-tcg", "qemu" })
		}
	}
	add("build", "arm64-runner", "node-5", func(v *vm) { v.kind, v.domain, v.arch = "qemu-tcg", "qemu", "aarch64" })
	add("office", "ledger", "node-2", func(v *vm) { v.last = samples - 40 - absence })
	add("office", "ledger", "node-2", func(v *vm) { v.first, v.kind, v.domain = samples-40, "unknown", "" })
	add("office", "scanner", "node-3", func(v *vm) { v.deafFrom = samples - 50; v.version = "v0.1.1" })
	add("build", "cramped", "node-5", func(v *vm) { v.diesFrom = samples - 100 })
	add("shop", "moving", "node-1", func(v *vm) { v.last = samples - 200 - absence })
	add("shop", "moving", "node-2", func(v *vm) { v.first = samples - 200 })
	return all
}

func (v vm) pod() string { return fmt.Sprintf("virt-launcher-%s-%d", v.name, v.first) }

func (v vm) target() string {
	return fmt.Sprintf(`job=%q,namespace=%q,name=%q,node=%q,pod=%q,container="hypervisor-exporter",endpoint="hv-metrics",instance="%s:9478"`,
		vmsJob, v.namespace, v.name, v.node, v.pod(), v.node)
}

// write writes the VM's series at that sample.
func (v vm) write(out *strings.Builder, i int, at int64) {
	if i < v.first || i > v.last {
		return
	}
	target := v.target()
	line := func(metric, labels string, value float64) {
		fmt.Fprintf(out, "%s{%s} %g %d\n", metric, labels, value, at)
	}
	line("kubevirt_vmi_info", fmt.Sprintf(`job="kubevirt-prometheus-metrics",namespace=%q,name=%q,node=%q,phase="running",vmi_pod=%q`,
		v.namespace, v.name, v.node, v.pod()), 1)
	if v.deafFrom > 0 && i >= v.deafFrom {
		line("up", target, 0)
		return
	}
	line("up", target, 1)
	line("kubevirt_vmi_hypervisor_info", target+fmt.Sprintf(",hypervisor_type=%q", v.kind), 1)
	line("hypervisor_exporter_last_change_timestamp_seconds", target, float64(v.first))
	line("hypervisor_exporter_build_info", target+fmt.Sprintf(",version=%q", v.version), 1)
	deaths := 0
	if v.diesFrom > 0 {
		deaths = max(0, i-v.diesFrom) / 10
	}
	line("hypervisor_exporter_restarts_total", target, float64(deaths))
	heard := 1.
	if v.kind == "unknown" {
		heard = 0
	} else {
		line("kubevirt_vmi_hypervisor_domain_info", target+fmt.Sprintf(",domain_type=%q,arch=%q,machine=%q,hypervisor_version=%q,libvirt_version=%q",
			v.domain, v.arch, map[string]string{"x86_64": "pc-q35-9.1", "aarch64": "virt-9.1"}[v.arch], v.qemu, v.libvirt), 1)
	}
	line("hypervisor_exporter_libvirt_up", target, heard)
	line("hypervisor_exporter_detection_errors_total", target+`,reason="libvirt"`, float64(i-v.first)*(1-heard)*4)
}
