package rules

import "slices"

func emulationScenarios() []scenario {
	return slices.Concat(onEmulationScenarios(), besideKVMScenarios(), nodeTurnedScenarios())
}

func emulatedOn(name, node string) labels { return typed(name, node, "qemu-tcg") }

func onEmulationScenarios() []scenario {
	const rule = "VirtualMachineOnSoftwareEmulation"
	slow := runs(vm("web", "node-1", "qemu-tcg", 0, 40))
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: slow,
			want:      []moment{at(10, emulatedOn("web", "node-1")), at(9)},
			describes: "VM shop/web on node node-1 has run on software emulation (QEMU TCG), not on KVM, for more than 10 minutes. The guest's CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md)."},
		{rule: rule, kind: fires, story: "a moment without libvirt does not restart the clock",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 7), vm("web", "node-1", "unknown", 8, 9), vm("web", "node-1", "qemu-tcg", 10, 30)),
			want:  []moment{at(12, emulatedOn("web", "node-1"))}},
		{rule: rule, kind: fires, story: "two targets of one exporter are one alert", input: runs(vm("web", "node-1", "qemu-tcg", 0, 30), vm("web", "node-1", "qemu-tcg", 0, 30).in("shop", "second-target")), want: []moment{at(15, emulatedOn("web", "node-1"))}},
		{rule: rule, kind: silent, story: "on KVM, unknown, and none",
			input: runs(vm("a", "node-1", "kvm", 0, 30), vm("b", "node-1", "unknown", 0, 30)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: runs(vm("web", "node-1", "qemu-tcg", 0, 30).by("tenant/exporter")), want: []moment{at(20)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: slow, want: []moment{at(40, emulatedOn("web", "node-1")), at(41)}},
		{rule: rule, kind: resolves, story: "when it is back on KVM",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 20), vm("web", "node-2", "kvm", 22, 40)),
			want:  []moment{at(20, emulatedOn("web", "node-1")), at(22), at(35)}},
		{rule: rule, kind: restart, story: "of half an hour", input: awayBetween(20, 50, runs(vm("web", "node-1", "qemu-tcg", 0, 100))),
			want: []moment{at(20, emulatedOn("web", "node-1")), at(50, emulatedOn("web", "node-1")),
				at(51, emulatedOn("web", "node-1")), at(58, emulatedOn("web", "node-1")), at(70, emulatedOn("web", "node-1"))}},
		{rule: rule, kind: migration, story: "the clock goes on; one alert at a time, with the new node",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 8), vm("web", "node-2", "qemu-tcg", 7, 15), vm("web", "node-3", "qemu-tcg", 17, 30)),
			want: []moment{at(8), at(10, emulatedOn("web", "node-2")), at(16), at(17, emulatedOn("web", "node-3")),
				at(26, emulatedOn("web", "node-3"))}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 20), vm("web", "node-1", "qemu-tcg", 30, 50)),
			want:  []moment{at(20, emulatedOn("web", "node-1")), at(25), at(30, emulatedOn("web", "node-1"))}},
	}
}

func besideKVMScenarios() []scenario {
	const rule = "VirtualMachineOnSoftwareEmulationBesideKVM"
	beside := runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("db", "node-1", "kvm", 0, 40))
	liar := vm("liar", "node-1", "kvm", 0, 40)
	old := vm("old", "node-1", "kvm", 0, 40).of("kvm", "i686")
	slowDB := vm("db", "node-1", "qemu-tcg", 0, 40)
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: beside,
			want:      []moment{at(10, emulatedOn("web", "node-1")), at(9)},
			describes: "VM shop/web has run on software emulation for more than 10 minutes on node node-1, where other VMs of the same architecture run on KVM. The VM, or its access to the node's KVM device, is misconfigured."},
		{rule: rule, kind: fires, story: "several beside several",
			input: append(runs(vm("cache", "node-1", "kvm", 0, 40), vm("mail", "node-1", "qemu-tcg", 0, 40)), beside...),
			want:  []moment{at(15, emulatedOn("web", "node-1"), emulatedOn("mail", "node-1"))}},
		{rule: rule, kind: silent, story: "KVM on another node only",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("db", "node-2", "kvm", 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a guest of another architecture can only be emulated",
			input: runs(vm("db", "node-1", "kvm", 0, 40), vm("arm", "node-1", "qemu-tcg", 0, 40).of("qemu", "aarch64")), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("db", "node-1", "kvm", 0, 40).by("tenant/exporter")), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a forged domain type beside KVM", input: runs(vm("db", "node-1", "kvm", 0, 40), vm("web", "node-1", "qemu-tcg", 0, 40).of("kvm", "x86_64")), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a neighbour whose page shows two domains", input: append(runs(vm("web", "node-1", "qemu-tcg", 0, 40), liar),
			metric("kubevirt_vmi_hypervisor_domain_info", liar.target().with("domain_type", "qemu", "arch", "x86_64"), 1, 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a neighbour whose domain is on KVM and whose type is not, beside VMs on KVM of another architecture",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("liar", "node-1", "unknown", 0, 40).of("kvm", "x86_64"),
				old, old.by("tenant/exporter").of("kvm", "x86_64"), liar.in("other", liar.pod).of("kvm", "i686")),
			want: []moment{at(20)}},
		{rule: rule, kind: fires, story: "what else is called like a neighbour does not hide it",
			input: slices.Concat(beside, []line{said(slowDB, "a")},
				runs(slowDB.in("shop", "made-by-hand"), slowDB.in("other", slowDB.pod).of("qemu", "aarch64"), slowDB.by("tenant/exporter"))),
			want: []moment{at(20, emulatedOn("web", "node-1"))}},
		{rule: rule, kind: silent, story: "the node's label is what counts, not the name of the VM",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("web2", "node-2", "qemu-tcg", 0, 40), vm("db", "node-2", "kvm", 0, 40)),
			want:  []moment{at(20, emulatedOn("web2", "node-2"))}},
		{rule: rule, kind: resolves, story: "when the VM stops",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 20), vm("db", "node-1", "kvm", 0, 40)),
			want:  []moment{at(20, emulatedOn("web", "node-1")), at(21)}},
		{rule: rule, kind: resolves, story: "when the last VM on KVM has left",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 40), vm("db", "node-1", "kvm", 0, 20)),
			want:  []moment{at(20, emulatedOn("web", "node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of half an hour",
			input: awayBetween(20, 50, runs(vm("web", "node-1", "qemu-tcg", 0, 80), vm("db", "node-1", "kvm", 0, 80))),
			want:  []moment{at(50, emulatedOn("web", "node-1")), at(58, emulatedOn("web", "node-1"))}},
		{rule: rule, kind: migration, story: "to a node without KVM",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 20), vm("web", "node-2", "qemu-tcg", 19, 40), vm("db", "node-1", "kvm", 0, 40)),
			want:  []moment{at(18, emulatedOn("web", "node-1")), at(19), at(20), at(30)}},
		{rule: rule, kind: migration, story: "of the VM on KVM, shown on both nodes for a moment",
			input: runs(vm("mail", "node-1", "qemu-tcg", 0, 40), vm("web", "node-2", "qemu-tcg", 0, 40), vm("db", "node-1", "kvm", 0, 20), vm("db", "node-2", "kvm", 19, 40)),
			want:  []moment{at(18, emulatedOn("mail", "node-1")), at(19, emulatedOn("web", "node-2")), at(30, emulatedOn("web", "node-2"))}},
		{rule: rule, kind: reboot, story: "all come back on KVM",
			input: runs(vm("web", "node-1", "qemu-tcg", 0, 20), vm("db", "node-1", "kvm", 0, 20), vm("web", "node-1", "kvm", 30, 60), vm("db", "node-1", "kvm", 31, 60)),
			want:  []moment{at(20, emulatedOn("web", "node-1")), at(25), at(35), at(50)}},
	}
}

func nodeTurnedScenarios() []scenario {
	const rule = "NodeTurnedToSoftwareEmulation"
	node := func(name string) labels { return labels{"node": name} }
	// Four hours on KVM, a reboot of ten minutes, then emulated.
	turnedUntil := func(last int, names ...string) []line {
		var lines []line
		for _, name := range names {
			lines = append(lines, runs(vm(name, "node-1", "kvm", 0, 240), vm(name, "node-1", "qemu-tcg", 250, last))...)
		}
		return lines
	}
	turned := func(names ...string) []line { return turnedUntil(320, names...) }
	return []scenario{
		{rule: rule, kind: fires, story: "two VMs", input: turned("a", "b"),
			want:      []moment{at(255, node("node-1")), at(245), at(249)},
			describes: "On node node-1, 2 VMs run on software emulation that ran on KVM within the last day. The node most likely lost KVM when it was last booted or upgraded."},
		{rule: rule, kind: fires, story: "VMs that came from other nodes",
			input: runs(vm("a", "node-2", "kvm", 0, 100), vm("b", "node-3", "kvm", 0, 100), vm("a", "node-1", "qemu-tcg", 110, 200), vm("b", "node-1", "qemu-tcg", 110, 200)),
			want:  []moment{at(115, node("node-1"))}},
		{rule: rule, kind: silent, story: "the neighbours' KVM is not the VM's", input: runs(
			vm("a", "node-2", "kvm", 0, 300).in("other", "a"), vm("b", "node-2", "kvm", 0, 300).in("other", "b"), vm("c", "node-2", "kvm", 0, 300),
			vm("a", "node-1", "qemu-tcg", 0, 300), vm("b", "node-1", "qemu-tcg", 0, 300)), want: []moment{at(255)}},
		{rule: rule, kind: silent, story: "one VM", input: turned("a"), want: []moment{at(255)}},
		{rule: rule, kind: silent, story: "one VM on each of two nodes",
			input: append(turned("a"), runs(vm("b", "node-2", "kvm", 0, 240), vm("b", "node-2", "qemu-tcg", 250, 400))...), want: []moment{at(255)}},
		{rule: rule, kind: silent, story: "VMs that were always emulated",
			input: runs(vm("a", "node-1", "qemu-tcg", 0, 300), vm("b", "node-1", "qemu-tcg", 0, 300), vm("c", "node-1", "kvm", 0, 300)), want: []moment{at(255)}},
		{rule: rule, kind: silent, story: "on KVM again", input: runs(vm("a", "node-1", "kvm", 0, 240), vm("b", "node-1", "kvm", 0, 240),
			vm("a", "node-1", "kvm", 250, 300), vm("b", "node-1", "kvm", 250, 300)), want: []moment{at(255)}},
		{rule: rule, kind: resolves, story: "when the VMs leave the node", input: runs(
			vm("a", "node-1", "kvm", 0, 100), vm("b", "node-1", "kvm", 0, 100), vm("a", "node-1", "qemu-tcg", 110, 150), vm("b", "node-1", "qemu-tcg", 110, 150),
			vm("a", "node-2", "kvm", 151, 200), vm("b", "node-2", "kvm", 151, 200)),
			want: []moment{at(120, node("node-1")), at(160)}},
		{rule: rule, kind: resolves, story: "a day after the last VM was on KVM", input: turnedUntil(1700, "a", "b"),
			want: []moment{at(1600, node("node-1")), at(1690)}},
		{rule: rule, kind: restart, story: "of half an hour", input: awayBetween(255, 285, turned("a", "b")),
			want: []moment{at(255, node("node-1")), at(290, node("node-1")), at(295, node("node-1"))}},
		{rule: rule, kind: migration, story: "within emulation: the new node is named",
			input: append(turned("a"), runs(vm("b", "node-1", "kvm", 0, 240), vm("b", "node-1", "qemu-tcg", 250, 300), vm("b", "node-2", "qemu-tcg", 299, 400))...),
			want:  []moment{at(290, node("node-1")), at(300), at(310)}},
		{rule: rule, kind: reboot, story: "that brings KVM back",
			input: runs(vm("a", "node-1", "kvm", 0, 100), vm("b", "node-1", "kvm", 0, 100), vm("a", "node-1", "qemu-tcg", 110, 150), vm("b", "node-1", "qemu-tcg", 110, 150),
				vm("a", "node-1", "kvm", 160, 200), vm("b", "node-1", "kvm", 160, 200)),
			want: []moment{at(150, node("node-1")), at(155), at(165)}},
	}
}
