package rules

import "slices"

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
	again := twice
	again.pod = "second-target" // of the same exporter, as with two endpoints
	lost := vm("web", "node-1", "unknown", 5, 10)
	lost.pod = "virt-launcher-web-node-1-0"

	foreign := vm("web", "node-3", "qemu-tcg", 5, 20)
	foreign.job = "tenant/exporter"
	elsewhere := twice
	elsewhere.namespace = "other"
	return []scenario{
		{rule: Newest, kind: fires, story: "one series for each VM",
			input: runs(vm("web", "node-1", "kvm", 0, 10), vm("db", "node-1", "qemu-tcg", 0, 10)),
			want:  []moment{at(5, typed("web", "node-1", "kvm"), typed("db", "node-1", "qemu-tcg"))}},
		{rule: Newest, kind: fires, story: "VMs of one name in two namespaces are two", input: runs(twice, elsewhere),
			want: []moment{at(5, typed("web", "node-1", "kvm"), typed("web", "node-1", "kvm").with("namespace", "other"))}},
		{rule: Newest, kind: silent, story: "no VM", input: nil, want: []moment{at(5)}},
		{rule: Newest, kind: silent, story: "a job that is not ours is not believed",
			input: runs(vm("web", "node-1", "kvm", 0, 20), foreign),
			want:  []moment{at(8, typed("web", "node-1", "kvm"))}},
		{rule: Newest, kind: fires, story: "two targets of one exporter are one VM",
			input: runs(twice, again), want: []moment{at(5, typed("web", "node-1", "kvm"))}},
		{rule: Newest, kind: resolves, story: "a VM that stops is gone at once",
			input: runs(vm("web", "node-1", "kvm", 0, 10)),
			want:  []moment{at(10, typed("web", "node-1", "kvm")), at(11)}},
		{rule: Newest, kind: resolves, story: "a type that changes is one series",
			input: runs(vm("web", "node-1", "kvm", 0, 4), lost),
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
