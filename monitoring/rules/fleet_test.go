package rules

import "slices"

func fleetScenarios() []scenario {
	return slices.Concat(nestedScenarios(), currentVersionScenarios(), outdatedCountScenarios(), outdatedQEMUScenarios())
}

// node is what the relay of a node shows of it.
func node(name, virtualization string, first, last int) line {
	return relayUp(name, 1, first, last).with("__name__", "kubevirt_node_virtualization_info", "virtualization", virtualization, "hardware_paging", "on", "nested", "on")
}

func nestedScenarios() []scenario {
	const rule = "VirtualMachinesOnNestedVirtualization"
	under := func(virtualization string) labels { return labels{"virtualization": virtualization} }
	on := func(name, kind string, nodes ...line) []line {
		return append(runs(vm("web", name, kind, 0, 80)), nodes...)
	}
	return []scenario{
		{rule: rule, kind: fires, story: "after half an hour, not before, once for all nodes of the cluster",
			input: append(on("node-1", "kvm", node("node-1", "kvm", 0, 80), node("node-2", "kvm", 0, 80)), runs(vm("a", "node-2", "kvm", 0, 80), vm("b", "node-2", "kvm", 0, 80))...),
			want:  []moment{at(30, under("kvm")), at(25)},
			describes: "VMs run on KVM on nodes that are themselves VMs (of kvm): nested virtualization, on 2 of the nodes. " +
				"Expect the VMs there to be slower than on physical machines, above all with much I/O and many interrupts."},
		{rule: rule, kind: fires, story: "each kind of hypervisor", input: append(on("node-1", "kvm", node("node-1", "hyperv", 0, 80), node("node-2", "other", 0, 80)),
			runs(vm("a", "node-2", "kvm", 0, 80))...), want: []moment{at(40, under("hyperv"), under("other"))}},
		{rule: rule, kind: silent, story: "physical nodes, and those of which it is not known", input: append(on("node-1", "kvm", node("node-1", "none", 0, 80), node("node-2", "unknown", 0, 80)),
			runs(vm("a", "node-2", "kvm", 0, 80))...), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "a node that is a VM and runs none on KVM", input: on("node-1", "qemu-tcg", node("node-1", "kvm", 0, 80)), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "another node is a VM", input: on("node-1", "kvm", node("node-1", "none", 0, 80), node("node-2", "kvm", 0, 80)), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "a job that is not the relay's is not believed", input: on("node-1", "kvm", node("node-1", "kvm", 0, 80).with("job", "tenant/exporter")), want: []moment{at(40)}},
		{rule: rule, kind: resolves, story: "when the last VM on KVM stops", input: append(runs(vm("web", "node-1", "kvm", 0, 40)), node("node-1", "kvm", 0, 80)),
			want: []moment{at(40, under("kvm")), at(45)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(41, 45, on("node-1", "kvm", node("node-1", "kvm", 0, 80))), want: []moment{at(43, under("kvm")), at(50, under("kvm"))}},
		{rule: rule, kind: migration, story: "the clock goes on", input: append(runs(vm("web", "node-1", "kvm", 0, 20), vm("web", "node-2", "kvm", 21, 80)),
			node("node-1", "kvm", 0, 80), node("node-2", "kvm", 0, 80)), want: []moment{at(30, under("kvm"))}},
		{rule: rule, kind: reboot, story: "other nodes of the cluster are VMs, too", input: append(runs(vm("web", "node-1", "kvm", 0, 10), vm("web", "node-1", "kvm", 20, 80), vm("a", "node-2", "kvm", 0, 80)),
			node("node-1", "kvm", 0, 10), node("node-1", "kvm", 20, 80), node("node-2", "kvm", 0, 80)), want: []moment{at(30, under("kvm"))}},
	}
}

// launched is a VM whose QEMU has that version, and whose virt-launcher KubeVirt calls outdated or not.
func launched(version, outdated string, r run) []line {
	return append(r.describedAs("hypervisor_version", version), listed(r).with("outdated", outdated))
}

func currentVersionScenarios() []scenario {
	const rule = CurrentVersion
	is := func(version, count string) labels { return labels{"hypervisor_version": version, "value": count} }
	on := func(name string) run { return vm(name, "node-1", "kvm", 0, 20) }
	moved := on("a")
	moved.node = "node-2"
	var failed, unsaid []line
	for _, name := range []string{"x", "y"} {
		failed = append(append(failed, on(name).describedAs("hypervisor_version", "9.1.0")...), listed(on(name)).with("outdated", "false", "phase", "failed"))
		unsaid = append(unsaid, launched("9.1.0", "", on(name))...)
	}
	one := func(story string, input []line, want ...labels) scenario {
		return scenario{rule: rule, kind: fires, story: story, input: input, want: []moment{at(10, want...)}}
	}
	return []scenario{
		one("that of the VMs that are not outdated", slices.Concat(launched("9.1.0", "true", on("a")), launched("9.1.0", "true", on("b")), launched("10.0.0", "false", on("c"))), is("10.0.0", "1")),
		one("that of the most", slices.Concat(launched("10.0.0", "false", on("a")), launched("10.0.0", "false", on("b")), launched("99.0.0", "false", on("c"))), is("10.0.0", "2")),
		one("not of VMs that do not run", append(launched("10.0.0", "false", on("a")), failed...), is("10.0.0", "1")),
		one("not of those that KubeVirt says nothing about", append(launched("10.0.0", "false", on("a")), unsaid...), is("10.0.0", "1")),
		one("not of a VM's namesakes in other namespaces", slices.Concat(launched("10.0.0", "false", on("a")), launched("9.1.0", "true", on("a").in("b", "b")), launched("9.1.0", "true", on("a").in("c", "c"))), is("10.0.0", "1")),
		one("not of a VM's pods on other nodes", slices.Concat(launched("10.0.0", "false", on("a")), launched("9.1.0", "true", moved), launched("9.1.0", "true", moved.in("shop", "second"))), is("10.0.0", "1")),
		one("a version that is not known is none", append(launched("", "false", on("a")), launched("", "false", on("b"))...)),
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: append(launched("10.0.0", "false", on("web").by("tenant/exporter")),
			listed(on("db")).with("job", VMsJob, "outdated", "false")), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "without KubeVirt's metrics", input: runs(on("web")), want: []moment{at(10)}},
		{rule: rule, kind: resolves, story: "when the last one stops", input: launched("10.0.0", "false", on("web")), want: []moment{at(20, is("10.0.0", "1")), at(25)}},
		{rule: rule, kind: migration, story: "to a new virt-launcher", input: append(launched("9.1.0", "true", vm("web", "node-1", "kvm", 0, 9)), launched("10.0.0", "false", vm("web", "node-2", "kvm", 10, 20))...),
			want: []moment{at(5), at(10, is("10.0.0", "1"))}},
	}
}

func outdatedCountScenarios() []scenario {
	const rule = OutdatedCount
	are := func(count string) labels { return labels{"value": count} }
	on := func(name string) run { return vm(name, "node-1", "kvm", 0, 20) }
	web, moved := on("web"), on("web")
	moved.node = "node-2"
	with := func(all ...[]line) []line {
		return append(slices.Concat(all...), launched("10.0.0", "false", on("new"))...)
	}
	one := func(story string, input []line, want ...labels) scenario {
		return scenario{rule: rule, kind: fires, story: story, input: input, want: []moment{at(10, want...)}}
	}
	return []scenario{
		one("each VM once, of whatever version", with(launched("9.1.0", "true", web), launched("9.1.0", "true", web.in("shop", "second")), launched("9.1.0", "true", web.in("other", web.pod)),
			launched("11.0.0", "true", on("b"))), are("3")),
		one("after KubeVirt was rolled back", append(launched("10.0.0", "true", web), launched("9.1.0", "false", on("new"))...), are("1")),
		one("an outdated virt-launcher with the same QEMU", with(launched("10.0.0", "true", web))),
		one("another QEMU in a virt-launcher that is not outdated", with(launched("9.1.0", "false", web), launched("10.0.0", "false", on("c")))),
		one("a version that is not known", with(launched("", "true", web))),
		one("no VM has what starts now", launched("9.1.0", "true", web)),
		one("KubeVirt's word is about another VM, node or namespace, about a VM that does not run, or is not KubeVirt's", with(launched("9.1.0", "", web),
			[]line{listed(moved).with("outdated", "true"), listed(web).with("outdated", "true", "name", "x"), listed(web).with("outdated", "true", "namespace", "other"),
				listed(web).with("outdated", "true", "phase", "failed"), listed(web).with("outdated", "true", "job", VMsJob)})),
		one("a job that is not ours is not believed", with(launched("9.1.0", "true", web.by("tenant/exporter")))),
		{rule: rule, kind: resolves, story: "when the last one stops", input: with(launched("9.1.0", "true", vm("web", "node-1", "kvm", 0, 9))), want: []moment{at(5, are("1")), at(10)}},
		{rule: rule, kind: migration, story: "to a new virt-launcher", input: with(launched("9.1.0", "true", vm("web", "node-1", "kvm", 0, 9)), launched("10.0.0", "false", vm("web", "node-2", "kvm", 10, 20)),
			launched("9.1.0", "true", on("db"))), want: []moment{at(5, are("2")), at(10, are("1"))}},
	}
}

func outdatedQEMUScenarios() []scenario {
	const rule, long, last = "VirtualMachinesOnOutdatedQEMU", 3 * 24 * 60, 3*24*60 + 60
	some := labels{}
	fresh := launched("10.0.0", "false", vm("new", "node-1", "kvm", 0, last))
	old := func(first, last int) []line {
		return launched("9.1.0", "true", vm("web", "node-1", "kvm", first, last))
	}
	tell := func(kind kind, story string, input []line, want ...moment) scenario {
		return scenario{rule: rule, kind: kind, story: story, input: append(input, fresh...), want: want}
	}
	first := tell(fires, "after three days, not before", old(0, last), at(long, some), at(long-5))
	first.describes = "VMs run a QEMU of another version than VMs that start now, in a virt-launcher that KubeVirt calls outdated: 1 of them. " +
		"For 3 days there have been such VMs. Restart or migrate them before the next upgrade."
	return []scenario{
		first,
		tell(silent, "an outdated virt-launcher with the same QEMU", launched("10.0.0", "true", vm("web", "node-1", "kvm", 0, last)), at(long+5)),
		tell(resolves, "when the last one is migrated", append(old(0, long+5), launched("10.0.0", "false", vm("web", "node-2", "kvm", long+6, last))...), at(long+5, some), at(long+10)),
		tell(restart, "of four minutes", awayBetween(long+11, long+15, old(0, last)), at(long+13, some), at(long+20, some)),
		tell(migration, "of one, while another waits", append(old(0, last), launched("9.1.0", "true", vm("db", "node-1", "kvm", 0, 100))...), at(long, some)),
		tell(reboot, "the clock starts again if all were away", append(old(0, 4), old(11, last)...), at(long+10), at(long+15, some)),
	}
}
