package rules

import (
	"math"
	"slices"
)

func recordingScenarios() []scenario {
	return slices.Concat(newestScenarios(), countScenarios())
}

func typed(name, node, hypervisor string) labels {
	return of(name, node, "hypervisor_type", hypervisor)
}

func newestScenarios() []scenario {
	// Between two scrapes the source, scraped last before the switch-over, and the target are both shown.
	moved := runs(vm("web", "node-1", "kvm", 0, 10), vm("web", "node-2", "kvm", 9, 20))
	twice := vm("web", "node-1", "kvm", 0, 10)
	again := twice.in("shop", "second-target") // of the same exporter, as with two endpoints
	return slices.Concat(settledScenarios(), []scenario{
		{rule: Newest, kind: fires, story: "one series for each VM",
			input: runs(vm("web", "node-1", "kvm", 0, 10), vm("db", "node-1", "qemu-tcg", 0, 10)),
			want:  []moment{at(5, typed("web", "node-1", "kvm"), typed("db", "node-1", "qemu-tcg"))}},
		{rule: Newest, kind: fires, story: "VMs of one name in two namespaces are two", input: runs(twice, twice.in("other", twice.pod)),
			want: []moment{at(5, typed("web", "node-1", "kvm"), typed("web", "node-1", "kvm").with("namespace", "other"))}},
		{rule: Newest, kind: silent, story: "no VM", input: nil, want: []moment{at(5)}},
		{rule: Newest, kind: silent, story: "a job that is not ours is not believed",
			input: runs(vm("web", "node-1", "kvm", 0, 20), vm("web", "node-3", "qemu-tcg", 5, 20).by("tenant/exporter")),
			want:  []moment{at(8, typed("web", "node-1", "kvm"))}},
		{rule: Newest, kind: fires, story: "two targets of one exporter are one VM",
			input: runs(twice, again), want: []moment{at(5, typed("web", "node-1", "kvm"))}},
		{rule: Newest, kind: resolves, story: "a VM that stops is gone at once",
			input: runs(vm("web", "node-1", "kvm", 0, 10)),
			want:  []moment{at(10, typed("web", "node-1", "kvm")), at(11)}},
		{rule: Newest, kind: resolves, story: "a type that changes is one series",
			input: runs(vm("web", "node-1", "kvm", 0, 4), vm("web", "node-1", "unknown", 5, 10).in("shop", twice.pod)),
			want:  []moment{at(4, typed("web", "node-1", "kvm")), at(5, typed("web", "node-1", "unknown"))}},
		{rule: Newest, kind: migration, story: "the target wins from its first scrape",
			input: moved,
			want: []moment{at(8, typed("web", "node-1", "kvm")), at(9, typed("web", "node-2", "kvm")),
				at(10, typed("web", "node-2", "kvm")), at(11, typed("web", "node-2", "kvm"))}},
		{rule: Newest, kind: restart, story: "what was seen counts for five minutes",
			input: awayBetween(5, 9, runs(vm("web", "node-1", "kvm", 0, 20))),
			want:  []moment{at(7, typed("web", "node-1", "kvm")), at(9, typed("web", "node-1", "kvm"))}},
		{rule: Newest, kind: reboot, story: "absent while the node is away, then as it is",
			input: runs(vm("web", "node-1", "kvm", 0, 10), vm("web", "node-1", "qemu-tcg", 15, 30)),
			want:  []moment{at(12), at(16, typed("web", "node-1", "qemu-tcg"))}},
	})
}

// began is a run whose exporter says that the VM changed last at that time.
func began(one run, seconds float64) []line {
	lines := one.lines()
	for i := range lines {
		if lines[i].labels["__name__"] == "hypervisor_exporter_last_change_timestamp_seconds" {
			lines[i].stretches[0].value = seconds
		}
	}
	return lines
}

// settledScenarios: whatever pages say, a VM is one series, and KubeVirt's word on its pod goes first.
func settledScenarios() []scenario {
	source, target := vm("web", "node-1", "kvm", 0, 20), vm("web", "node-2", "kvm", 0, 20)
	byHand := vm("web", "node-3", "qemu-tcg", 0, 20)
	later := vm("web", "node-3", "qemu-tcg", 5, 20)
	neighbour := vm("db", "node-1", "kvm", 0, 20)
	db := typed("db", "node-1", "kvm")
	twin := func(name string, value float64, pairs ...string) line {
		return metric(name, neighbour.target().with(pairs...), value, 0, 20)
	}
	const change, info = "hypervisor_exporter_last_change_timestamp_seconds", "kubevirt_vmi_hypervisor_info"
	one := func(story string, input []line, want ...labels) scenario {
		return scenario{rule: Newest, kind: fires, story: story, input: input, want: []moment{at(10, want...)}}
	}
	both := slices.Clip(append(began(source, 300), began(target, 300)...))
	return []scenario{
		one("two pods in the same millisecond: the one that KubeVirt names", append(both, said(target, "a")), typed("web", "node-2", "kvm")),
		one("two pods in the same millisecond: the one that KubeVirt names, whichever it is", append(both, said(source, "a")), typed("web", "node-1", "kvm")),
		{rule: ClusterCount, kind: fires, story: "two pods in the same millisecond, and no word of KubeVirt's, are one VM", input: both,
			want: []moment{at(10, labels{"hypervisor_type": "kvm", "value": "1"})}},
		one("a pod made by hand is newer than the one that KubeVirt names", append(runs(source, later), said(source, "a"), said(source, "b")),
			typed("web", "node-1", "kvm")),
		one("a pod made by hand says that it began in the future", append(append(source.lines(), began(byHand, math.Inf(1))...), said(source, "a")),
			typed("web", "node-1", "kvm")),
		one("KubeVirt names a pod that shows nothing yet", append(source.lines(), said(target, "a")), typed("web", "node-1", "kvm")),
		one("KubeVirt names no pod", append(source.lines(), said(target, "a").with("vmi_pod", "")), typed("web", "node-1", "kvm")),
		one("who says what KubeVirt says is a VM's pod", append(runs(source, later), said(source, "a").with("job", VMsJob, "pod", "x")), typed("web", "node-3", "qemu-tcg")),
		one("KubeVirt names the pod of a VM that has ended", append(runs(source, later), said(source, "a").with("phase", "succeeded")), typed("web", "node-3", "qemu-tcg")),
		one("a clock of a job that is not ours", append(runs(source, later),
			metric(change, source.target().with("job", "tenant/exporter"), 1e9, 0, 20)), typed("web", "node-3", "qemu-tcg")),
		one("a type of a job that is not ours, beside a clock of ours", []line{
			metric(change, source.target(), 1, 0, 20), metric(info, source.target().with("job", "tenant/exporter", "hypervisor_type", "kvm"), 1, 0, 20)}),
		one("not a number, with KubeVirt's word", append(began(source, math.NaN()), said(source, "a")), typed("web", "node-1", "kvm")),
		one("not a number, alone", began(source, math.NaN()), typed("web", "node-1", "kvm")),
		one("not a number loses", append(began(source, math.NaN()), began(target, 0)...), typed("web", "node-2", "kvm")),
		one("before 1970 is no earlier than 1970", began(source, -1e300), typed("web", "node-1", "kvm")),
		one("a page that repeats itself with one label more", append(append(source.lines(), neighbour.lines()...),
			twin(change, 1, "hypervisor_type", "a"), twin(change, 2, "hypervisor_type", "b"), twin(info, 1, "hypervisor_type", "kvm", "x", "y")),
			typed("web", "node-1", "kvm"), db),
		one("a page whose series is not 1 shows nothing", append(append(source.lines(), neighbour.lines()...),
			twin(info, math.NaN(), "hypervisor_type", "qemu-tcg"), twin(info, math.Inf(1), "hypervisor_type", "unknown")), typed("web", "node-1", "kvm"), db),
		one("a type that there is not", append(source.lines(), twin(info, 1, "hypervisor_type", "b"), twin(change, 1)), typed("web", "node-1", "kvm")),
	}
}

func countScenarios() []scenario {
	fleet := runs(
		vm("a", "node-1", "kvm", 0, 10), vm("b", "node-1", "kvm", 0, 20), vm("c", "node-1", "qemu-tcg", 0, 20),
		vm("d", "node-2", "kvm", 0, 20),
		vm("a", "node-2", "kvm", 9, 20), // migrates; shown twice in minutes 9 and 10
	)
	perNode := func(node, kind, value string) labels {
		return labels{"node": node, "hypervisor_type": kind, "value": value}
	}
	perType := func(kind, value string) labels { return labels{"hypervisor_type": kind, "value": value} }
	stopped := runs(vm("a", "node-1", "kvm", 0, 10))
	return []scenario{
		{rule: NodeCount, kind: fires, story: "each node by type", input: fleet, want: []moment{
			at(5, perNode("node-1", "kvm", "2"), perNode("node-1", "qemu-tcg", "1"), perNode("node-2", "kvm", "1"))}},
		{rule: NodeCount, kind: migration, story: "a VM counts once", input: fleet, want: []moment{
			at(9, perNode("node-1", "kvm", "1"), perNode("node-1", "qemu-tcg", "1"), perNode("node-2", "kvm", "2"))}},
		{rule: NodeCount, kind: resolves, story: "no VM is no series", input: stopped, want: []moment{at(11)}},
		{rule: ClusterCount, kind: fires, story: "the cluster by type", input: fleet, want: []moment{
			at(5, perType("kvm", "3"), perType("qemu-tcg", "1"))}},
		{rule: ClusterCount, kind: migration, story: "a VM counts once", input: fleet, want: []moment{
			at(9, perType("kvm", "3"), perType("qemu-tcg", "1"))}},
		{rule: ClusterCount, kind: resolves, story: "no VM is no series", input: stopped, want: []moment{at(11)}},
		{rule: EmulatedRatio, kind: fires, story: "a quarter", input: fleet, want: []moment{at(5, labels{"value": "0.25"})}},
		{rule: EmulatedRatio, kind: silent, story: "none is 0, not absent", input: stopped, want: []moment{at(5, labels{"value": "0"})}},
		{rule: EmulatedRatio, kind: fires, story: "all", input: runs(vm("a", "node-1", "qemu-tcg", 0, 10)),
			want: []moment{at(5, labels{"value": "1"})}},
		{rule: EmulatedRatio, kind: resolves, story: "no VM is no share", input: stopped, want: []moment{at(11)}},
		{rule: EmulatedRatio, kind: migration, story: "a VM counts once", input: fleet, want: []moment{at(9, labels{"value": "0.25"})}},
	}
}
