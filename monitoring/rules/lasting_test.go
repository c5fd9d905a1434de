package rules

// A stay is one of the ways in which a VM can run: vm(…, "kvm"), mute, ….
type stay func(name, node string, first, last int) run

func (s stay) in(namespace, name, node string, first, last int) run {
	one := s(name, node, first, last)
	one.namespace = namespace
	return one
}

// lastingScenarios are those of every alert that asks how long a VM has been of a type:
// bad is that type, reset the one that restarts the clock, and minutes how long.
func lastingScenarios(rule string, bad, reset stay, hypervisor string, minutes int, around ...line) []scenario {
	in := func(namespace, name, node string) labels {
		return typed(name, node, hypervisor).with("namespace", namespace)
	}
	with := func(all ...run) []line { return append(runs(all...), around...) }
	return []scenario{
		{rule: rule, kind: silent, story: "the neighbours' time is not the VM's",
			input: with(bad.in("shop", "web", "node-1", minutes+10, 90), bad.in("other", "web", "node-1", 0, 90), bad.in("shop", "db", "node-1", 0, 90)),
			want:  []moment{at(minutes+15, in("other", "web", "node-1"), in("shop", "db", "node-1"))}},
		{rule: rule, kind: fires, story: "the neighbours' good type is not the VM's",
			input: with(bad.in("shop", "web", "node-1", 0, 90), reset.in("other", "web", "node-2", 0, 90), reset.in("shop", "db", "node-2", 0, 90)),
			want:  []moment{at(minutes+5, in("shop", "web", "node-1"))}},
		{rule: rule, kind: silent, story: "of a good type long ago, then away",
			input: with(reset("web", "node-1", 0, 5), bad("web", "node-1", minutes+10, 90)),
			want:  []moment{at(minutes + 17), at(2*minutes+10, in("shop", "web", "node-1"))}},
		{rule: rule, kind: restart, story: "of three quarters of an hour",
			input: awayBetween(20, 65, with(bad("web", "node-1", 0, 100))),
			want:  []moment{at(66, in("shop", "web", "node-1")), at(71, in("shop", "web", "node-1"))}},
		{rule: rule, kind: silent, story: "of a good type for a while",
			input: with(bad("web", "node-1", 0, 20), reset("web", "node-1", 21, 30), bad("web", "node-1", 31, 60)),
			want:  []moment{at(32), at(29 + minutes), at(32+minutes, in("shop", "web", "node-1"))}},
		{rule: rule, kind: silent, story: "one that started five minutes ago, an hour and a half after another of its name was deleted",
			input: with(bad("web", "node-1", 0, 20), bad("web", "node-1", 110, 130)),
			want:  []moment{at(115), at(110+minutes, in("shop", "web", "node-1"))}},
	}
}

func neighbourScenarios() []scenario {
	onKVM := stay(func(name, node string, first, last int) run { return vm(name, node, "kvm", first, last) })
	slow := stay(func(name, node string, first, last int) run { return vm(name, node, "qemu-tcg", first, last) })
	const emulation, beside, unknown = "VirtualMachineOnSoftwareEmulation", "VirtualMachineOnSoftwareEmulationBesideKVM", "VirtualMachineHypervisorUnknown"
	base := runs(onKVM("base", "node-1", 0, 140))
	all := lastingScenarios(emulation, slow, onKVM, "qemu-tcg", 10)
	all = append(all, lastingScenarios(beside, slow, onKVM, "qemu-tcg", 10, base...)...)
	all = append(all, lastingScenarios(unknown, mute, onKVM, "unknown", 15)...)

	foreign := func(namespace, name string) run {
		return slow.in(namespace, name, "node-1", 0, 40).of("qemu", "aarch64")
	}
	described := func(l labels) line {
		return metric("kubevirt_vmi_hypervisor_domain_info", l.with("domain_type", "hyperv", "arch", "x86_64"), 1, 0, 40)
	}
	return append(all,
		scenario{rule: emulation, kind: silent, story: "emulated before, unknown now",
			input: runs(slow("web", "node-1", 0, 20), mute("web", "node-1", 21, 40)), want: []moment{at(25)}},
		scenario{rule: emulation, kind: silent, story: "unknown before, emulated since five minutes",
			input: runs(mute("web", "node-1", 0, 20), slow("web", "node-1", 21, 40)), want: []moment{at(26), at(31, emulatedOn("web", "node-1"))}},
		scenario{rule: beside, kind: silent, story: "emulated before, unknown now, whatever the page says about its domain",
			input: append(runs(slow("web", "node-1", 0, 20), mute("web", "node-1", 21, 40).of("qemu", "x86_64")), base...), want: []moment{at(25)}},
		scenario{rule: beside, kind: silent, story: "unknown before, emulated since five minutes",
			input: append(runs(mute("web", "node-1", 0, 20), slow("web", "node-1", 21, 40)), base...), want: []moment{at(26), at(31, emulatedOn("web", "node-1"))}},
		scenario{rule: beside, kind: silent, story: "guests of another architecture beside one that could be on KVM",
			input: append(runs(slow("web", "node-1", 0, 40), foreign("shop", "arm"), foreign("other", "web")), base...),
			want:  []moment{at(20, emulatedOn("web", "node-1"))}},
		scenario{rule: beside, kind: silent, story: "emulated by a job that is not ours, an odd guest by ours", input: append(runs(foreign("shop", "arm"), slow("arm", "node-1", 0, 40).by("tenant/exporter")), base...), want: []moment{at(20)}},
		scenario{rule: unknown, kind: fires, story: "other domain types, by other VMs, nodes and jobs",
			input: append(runs(mute("web", "node-1", 0, 40)), described(mute("web", "node-2", 0, 40).target()), described(mute("web", "node-1", 0, 40).by("tenant/exporter").target()),
				described(mute("web", "node-1", 0, 40).target().with("namespace", "other"))),
			want: []moment{at(20, typed("web", "node-1", "unknown"))}},
	)
}
