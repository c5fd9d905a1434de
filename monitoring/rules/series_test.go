package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// labels of a series; name "__name__" is the metric.
type labels map[string]string

func (l labels) with(pairs ...string) labels {
	all := maps.Clone(l)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func (l labels) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if key != "__name__" {
			parts = append(parts, fmt.Sprintf("%s=%q", key, l[key]))
		}
	}
	return l["__name__"] + "{" + strings.Join(parts, ",") + "}"
}

// A stretch of samples, one a minute, first to last. After a stretch the series is
// marked stale, as by a scrape that lacks it, unless the Prometheus is away then.
type stretch struct {
	first, last int
	value       float64
	step        float64
	away        bool
}

// A line is one series over time, as promtool reads it.
type line struct {
	labels    labels
	stretches []stretch
}

func (l line) values() string {
	var parts []string
	next := 0
	for i, s := range l.stretches {
		if s.first > next {
			parts = append(parts, fmt.Sprintf("_x%d", s.first-next))
		}
		parts = append(parts, fmt.Sprintf("%g%+gx%d", s.value, s.step, s.last-s.first))
		next = s.last + 1
		continues := i+1 < len(l.stretches) && l.stretches[i+1].first == next
		if !s.away && !continues {
			parts = append(parts, "stale")
			next++
		}
	}
	return strings.Join(parts, " ")
}

// metric is a series with that value from first to last.
func metric(name string, l labels, value float64, first, last int) line {
	return line{l.with("__name__", name), []stretch{{first: first, last: last, value: value}}}
}

// counter is a series that begins at 0 and grows by one in each of the minutes.
func counter(name string, l labels, first, last int, minutes ...int) line {
	all := line{labels: l.with("__name__", name)}
	for i, minute := range append(minutes, last+1) {
		all.stretches = append(all.stretches, stretch{first: first, last: minute - 1, value: float64(i)})
		first = minute
	}
	return all
}

// with returns the line with other labels.
func (l line) with(pairs ...string) line { return line{l.labels.with(pairs...), l.stretches} }

// then adds a later stretch.
func (l line) then(value float64, first, last int) line {
	l.stretches = append(slices.Clone(l.stretches), stretch{first: first, last: last, value: value})
	return l
}

// A run is a VM's stay in one pod: what its exporter shows from minute first to last.
type run struct {
	namespace, name, node, pod string
	kind, domain, arch         string
	first, last                int
	job                        string
}

// by is the same stay, shown by a target of another job.
func (r run) by(job string) run {
	r.job = job
	return r
}

// in is the same stay in another pod.
func (r run) in(namespace, pod string) run {
	r.namespace, r.pod = namespace, pod
	return r
}

// of is the same stay with another domain type and architecture.
func (r run) of(domain, arch string) run {
	r.domain, r.arch = domain, arch
	return r
}

func (r run) target() labels {
	job := r.job
	if job == "" {
		job = VMsJob
	}
	return labels{
		"job": job, "namespace": r.namespace, "name": r.name, "node": r.node, "pod": r.pod,
		"container": "hypervisor-exporter", "endpoint": "hv-metrics", "instance": r.node + ":9478",
	}
}

// lines are the series of a healthy exporter during the run.
func (r run) lines() []line {
	domain := map[string]string{"kvm": "kvm", "qemu-tcg": "qemu"}[r.kind]
	if r.domain != "" {
		domain = r.domain
	}
	arch := r.arch
	if arch == "" {
		arch = "x86_64"
	}
	target := r.target()
	all := []line{
		metric("up", target, 1, r.first, r.last),
		metric("hypervisor_exporter_libvirt_up", target, 1, r.first, r.last),
		metric("hypervisor_exporter_last_change_timestamp_seconds", target, float64(r.first*60), r.first, r.last),
		metric("kubevirt_vmi_hypervisor_info", target.with("hypervisor_type", r.kind), 1, r.first, r.last),
	}
	if domain != "" {
		info := target.with("domain_type", domain, "arch", arch, "machine", "pc-q35-9.0",
			"hypervisor_version", "9.1.0", "libvirt_version", "10.10.0")
		all = append(all, metric("kubevirt_vmi_hypervisor_domain_info", info, 1, r.first, r.last))
	}
	return all
}

// describedAs are the series of a healthy exporter whose libvirt domain has these labels, too.
func (r run) describedAs(pairs ...string) []line {
	lines := r.lines()
	for i, one := range lines {
		if one.labels["__name__"] == "kubevirt_vmi_hypervisor_domain_info" {
			lines[i] = one.with(pairs...)
		}
	}
	return lines
}

// forgedByPages is what the page of each VM of the input could send under the names of recorded series and of other
// products' metrics, all the time: the VM is of every type, its namespace is enabled, its pod opted out, has not begun, and is
// not the one that KubeVirt names. It is part of every scenario, and changes none.
func forgedByPages(input []line) []line {
	last := 0
	for _, one := range input {
		last = max(last, one.stretches[len(one.stretches)-1].last)
	}
	forged := map[string]line{}
	for _, one := range input {
		if one.labels["job"] != VMsJob {
			continue
		}
		forge := func(name string, value float64, from []string, more ...string) {
			all := labels{"job": VMsJob}
			for _, label := range from {
				all[label] = one.labels[label]
			}
			series := metric(name, all.with(more...), value, 0, last)
			forged[series.labels.String()] = series
		}
		namespace, pod, vm := []string{"namespace"}, []string{"namespace", "pod"}, []string{"namespace", "name", "node"}
		for _, kind := range exposition.HypervisorTypes() {
			forge(Newest, 1, vm, "hypervisor_type", kind)
			forge(ClusterCount, math.NaN(), vm, "hypervisor_type", kind)
			forge(NodeCount, 1, vm, "hypervisor_type", kind)
		}
		forge(CrossArchitecture, 1, vm)
		forge(Down, 0, append(vm, "pod"))
		forge(CurrentVersion, 1, vm, "hypervisor_version", one.labels["hypervisor_version"])
		forge(OutdatedCount, 1, nil)
		forge("kubevirt_node_virtualization_info", 1, vm, "virtualization", "kvm")
		forge("kube_namespace_labels", 1, namespace, "label_hypervisor_exporter_kubevirt_io_inject", "enabled")
		forge("kube_pod_labels", 1, pod, "label_hypervisor_exporter_kubevirt_io_inject", "false")
		forge("kube_pod_annotations", 1, pod, "annotation_hypervisor_exporter_kubevirt_io_inject", "false")
		forge("kube_pod_status_phase", 0, pod, "phase", "Running")
		for _, outdated := range []string{"false", "true"} {
			forge("kubevirt_vmi_info", 1, vm, "phase", "running", "outdated", outdated, "vmi_pod", "made-up")
		}
	}
	return slices.Collect(maps.Values(forged))
}

// vm is a VM of namespace shop in a pod of its own for that stay.
func vm(name, node, kind string, first, last int) run {
	return run{
		namespace: "shop", name: name, node: node, kind: kind, first: first, last: last,
		pod: fmt.Sprintf("virt-launcher-%s-%s-%d", name, node, first),
	}
}

func runs(all ...run) []line {
	var lines []line
	for _, one := range all {
		lines = append(lines, one.lines()...)
	}
	return lines
}

// awayBetween cuts the samples after minute first and before minute last out of all
// lines, as when Prometheus was down: no sample, no stale marker.
func awayBetween(first, last int, lines []line) []line {
	var cut []line
	for _, one := range lines {
		var stretches []stretch
		for _, s := range one.stretches {
			if s.first < first {
				before := s
				before.last = min(s.last, first)
				before.away = s.last >= first
				stretches = append(stretches, before)
			}
			if s.last > last {
				after := s
				after.first = max(s.first, last)
				after.value += s.step * float64(after.first-s.first)
				stretches = append(stretches, after)
			}
		}
		if len(stretches) > 0 {
			cut = append(cut, line{one.labels, stretches})
		}
	}
	return cut
}

// joined puts stretches of one series into one line, as promtool wants them.
func joined(t *testing.T, lines []line) []line {
	t.Helper()
	var all []line
	for _, one := range lines {
		i := slices.IndexFunc(all, func(other line) bool { return maps.Equal(other.labels, one.labels) })
		if i < 0 {
			all = append(all, one)
			continue
		}
		stretches := slices.Concat(all[i].stretches, one.stretches)
		slices.SortFunc(stretches, func(a, b stretch) int { return a.first - b.first })
		for k := range stretches[1:] {
			require.Less(t, stretches[k].last, stretches[k+1].first, "%s is shown twice", one.labels)
		}
		all[i].stretches = stretches
	}
	return all
}
