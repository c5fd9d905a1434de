package rules

import "slices"

func judgementScenarios() []scenario {
	return slices.Concat(unknownScenarios(), otherTypeScenarios())
}

// mute is a VM whose libvirt is not heard: no domain is described.
func mute(name, node string, first, last int) run { return vm(name, node, "unknown", first, last) }

// strange is a VM of a domain type that KubeVirt does not write.
func strange(name, node string, first, last int) run {
	return vm(name, node, "unknown", first, last).of("xen", "x86_64")
}

// onMSHV is a VM on Microsoft's hypervisor.
func onMSHV(name, node string, first, last int) run {
	return vm(name, node, "unknown", first, last).of("hyperv", "x86_64")
}

func unknownScenarios() []scenario {
	const rule = "VirtualMachineHypervisorUnknown"
	lost := func(name, node string) labels { return typed(name, node, "unknown") }
	return []scenario{
		{rule: rule, kind: fires, story: "after fifteen minutes, not before", input: runs(mute("web", "node-1", 0, 40)),
			want:      []moment{at(15, lost("web", "node-1")), at(14)},
			describes: "The hypervisor type of VM shop/web on node node-1 has been unknown for more than 15 minutes: its libvirt does not answer, or its domain cannot be read."},
		{rule: rule, kind: silent, story: "emulated for a moment",
			input: runs(mute("web", "node-1", 0, 10), vm("web", "node-1", "qemu-tcg", 11, 12), mute("web", "node-1", 13, 60)),
			want:  []moment{at(20)}},
		{rule: rule, kind: silent, story: "a domain type that is known to be another", input: runs(strange("web", "node-1", 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the hypervisor that KubeVirt was configured to use", input: runs(onMSHV("web", "node-1", 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: fires, story: "beside a VM of another domain type",
			input: runs(strange("win", "node-1", 0, 40), mute("web", "node-1", 0, 40)), want: []moment{at(20, lost("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a domain that does not tell its type", input: append(runs(mute("web", "node-1", 0, 40)),
			metric("kubevirt_vmi_hypervisor_domain_info", mute("web", "node-1", 0, 40).target().with("arch", "x86_64"), 1, 0, 40)), want: []moment{at(20, lost("web", "node-1"))}},
		{rule: rule, kind: silent, story: "on KVM or emulated", input: runs(vm("a", "node-1", "kvm", 0, 40), vm("b", "node-1", "qemu-tcg", 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: resolves, story: "when libvirt is heard again",
			input: runs(mute("web", "node-1", 0, 20), vm("web", "node-1", "kvm", 21, 40)), want: []moment{at(20, lost("web", "node-1")), at(21)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: runs(mute("web", "node-1", 0, 20)), want: []moment{at(20, lost("web", "node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of half an hour", input: awayBetween(20, 50, runs(mute("web", "node-1", 0, 80))),
			want: []moment{at(50, lost("web", "node-1")), at(60, lost("web", "node-1"))}},
		{rule: rule, kind: migration, story: "to where libvirt is heard",
			input: runs(mute("web", "node-1", 0, 20), vm("web", "node-2", "kvm", 19, 40)), want: []moment{at(18, lost("web", "node-1")), at(19), at(25)}},
		{rule: rule, kind: reboot, story: "that cures libvirt",
			input: runs(mute("web", "node-1", 0, 20), vm("web", "node-1", "kvm", 30, 40)), want: []moment{at(20, lost("web", "node-1")), at(25), at(31)}},
	}
}

func otherTypeScenarios() []scenario {
	const rule = "VirtualMachineDomainTypeOther"
	xen := func(name, node string) labels { return of(name, node, "domain_type", "xen") }
	web := strange("web", "node-1", 0, 40)
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: runs(web, web.in("shop", "second-target")),
			want:      []moment{at(10, xen("web", "node-1")), at(9)},
			describes: "VM shop/web on node node-1 has a libvirt domain of type xen. The exporter does not know whether that is emulation and shows the VM as unknown."},
		{rule: rule, kind: silent, story: "kvm, qemu, and a domain that does not tell",
			input: append(runs(vm("a", "node-1", "kvm", 0, 40), vm("b", "node-1", "qemu-tcg", 0, 40)),
				metric("kubevirt_vmi_hypervisor_domain_info", mute("c", "node-1", 0, 40).target().with("arch", "x86_64"), 1, 0, 40)),
			want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the hypervisor that KubeVirt was configured to use", input: runs(onMSHV("web", "node-1", 0, 40)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: runs(web.by("tenant/exporter")), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "a type that libvirt does not have", input: runs(web.of("call 555-0100", "x86_64")), want: []moment{at(20)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: runs(strange("web", "node-1", 0, 20)), want: []moment{at(20, xen("web", "node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, runs(strange("web", "node-1", 0, 40))),
			want: []moment{at(22, xen("web", "node-1")), at(24, xen("web", "node-1"))}},
		{rule: rule, kind: migration, story: "the clock restarts on the other node",
			input: runs(strange("web", "node-1", 0, 20), strange("web", "node-2", 20, 40)),
			want:  []moment{at(20, xen("web", "node-1")), at(25), at(30, xen("web", "node-2"))}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: runs(strange("web", "node-1", 0, 20), strange("web", "node-1", 30, 60)),
			want:  []moment{at(20, xen("web", "node-1")), at(25), at(40, xen("web", "node-1"))}},
	}
}
