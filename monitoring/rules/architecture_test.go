package rules

import (
	"fmt"
	"slices"
	"strings"
)

func architectureScenarios() []scenario {
	return slices.Concat(crossArchitectureScenarios(), intendedScenarios(), otherArchitectureScenarios())
}

// foreign is a guest of aarch64 that is emulated on an x86_64 node.
func foreign(r run) []line { return r.of("qemu", "aarch64").describedAs("host_arch", "x86_64") }

func crossArchitectureScenarios() []scenario {
	const rule = CrossArchitecture
	web := vm("web", "node-1", "qemu-tcg", 0, 20)
	native := func(r run) []line { return r.of("qemu", "x86_64").describedAs("host_arch", "x86_64") }
	second := web.in("shop", "second")
	anothers := web
	anothers.name = "db"
	able := map[string]string{"x86_64": "x86_64 i686", "aarch64": "aarch64 armv7l", "s390x": "s390x"} // to be on KVM
	var everyPair []line
	var apart []labels
	for _, host := range []string{"x86_64", "aarch64", "s390x", "riscv64", ""} {
		for _, guest := range []string{"x86_64", "i686", "aarch64", "armv7l", "s390x", "ppc64le", ""} {
			name := fmt.Sprintf("%s-on-%s", guest, host)
			everyPair = append(everyPair, vm(name, "node-1", "qemu-tcg", 0, 20).describedAs("arch", guest, "host_arch", host)...)
			if able[host] != "" && guest != "" && !slices.Contains(strings.Fields(able[host]), guest) {
				apart = append(apart, of(name, "node-1"))
			}
		}
		everyPair = append(everyPair, vm("kvm-on-"+host, "node-1", "kvm", 0, 20).describedAs("arch", "ppc64le", "host_arch", host)...)
	}
	one := func(story string, input []line, want ...labels) scenario {
		return scenario{rule: rule, kind: fires, story: story, input: input, want: []moment{at(10, want...)}}
	}
	return []scenario{
		one("each guest that cannot be on KVM, on nodes of each architecture", everyPair, apart...),
		one("an exporter of an older version does not show the node's architecture", web.of("qemu", "aarch64").lines()),
		one("two targets of one exporter are one VM", append(foreign(web), foreign(second)...), of("web", "node-1")),
		one("another page of the VM says that it could be on KVM", append(foreign(web), native(second)...)),
		one("another page of the VM does not say the node's architecture", append(foreign(web), second.of("qemu", "aarch64").lines()...)),
		one("a page of the VM on another node", append(foreign(web), native(vm("web", "node-2", "qemu-tcg", 0, 20))...), of("web", "node-1")),
		one("pages of VMs of other names and namespaces", slices.Concat(foreign(web), native(anothers), native(web.in("other", web.pod))), of("web", "node-1")),
		one("a page of a job that is not ours", append(foreign(web), native(second.by("tenant/exporter"))...), of("web", "node-1")),
		one("a guest on KVM beside it", append(foreign(web), second.of("kvm", "x86_64").describedAs("host_arch", "x86_64")...), of("web", "node-1")),
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: slices.Concat(foreign(web.by("tenant/exporter")),
			vm("a", "node-1", "qemu-tcg", 0, 20).by("tenant/exporter").of("qemu", "x86_64").describedAs("host_arch", "aarch64"),
			vm("b", "node-1", "qemu-tcg", 0, 20).by("tenant/exporter").of("qemu", "x86_64").describedAs("host_arch", "s390x")), want: []moment{at(10)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: foreign(web), want: []moment{at(20, of("web", "node-1")), at(21)}},
		{rule: rule, kind: migration, story: "with its node", input: append(foreign(vm("web", "node-1", "qemu-tcg", 0, 9)), foreign(vm("web", "node-2", "qemu-tcg", 10, 20))...),
			want: []moment{at(9, of("web", "node-1")), at(10, of("web", "node-2"))}},
	}
}

// intendedScenarios: a guest that can only be emulated is none of those that are emulated by accident.
func intendedScenarios() []scenario {
	const emulation, beside = "VirtualMachineOnSoftwareEmulation", "VirtualMachineOnSoftwareEmulationBesideKVM"
	web := vm("web", "node-1", "qemu-tcg", 0, 40)
	odd := vm("odd", "node-1", "kvm", 0, 40).of("kvm", "aarch64")
	slow := runs(vm("db", "node-1", "qemu-tcg", 0, 40))
	var all []scenario
	for rule, around := range map[string][]line{emulation: nil, beside: append(odd.lines(), runs(vm("base", "node-1", "kvm", 0, 40))...)} {
		say := func(kind kind, story string, input []line, want ...moment) {
			all = append(all, scenario{rule: rule, kind: kind, story: story, input: append(input, around...), want: want})
		}
		say(silent, "a guest of another architecture than the node's, beside one that could be on KVM", append(foreign(web), slow...), at(20, emulatedOn("db", "node-1")))
		say(fires, "a guest of another architecture, by an exporter of an older version, which does not show the node's", web.of("qemu", "aarch64").lines(),
			at(20, emulatedOn("web", "node-1")))
		say(fires, "its namesakes on another node and in another namespace are of another architecture", slices.Concat(runs(web),
			foreign(vm("web", "node-2", "qemu-tcg", 0, 40).in("other", web.pod)), foreign(vm("web", "node-1", "qemu-tcg", 0, 40).in("other", "its-pod")),
			foreign(vm("db", "node-1", "qemu-tcg", 0, 40))), at(20, emulatedOn("web", "node-1")))
		say(fires, "a pod made by hand on another node says that the VM is of another architecture", slices.Concat(runs(web), []line{said(web, "a")},
			foreign(vm("web", "node-2", "qemu-tcg", 0, 40))), at(20, emulatedOn("web", "node-1")))
		say(fires, "before it was moved to a node of another architecture", append(runs(vm("web", "node-1", "qemu-tcg", 0, 20)), foreign(vm("web", "node-2", "qemu-tcg", 21, 40))...),
			at(20, emulatedOn("web", "node-1")), at(21), at(35))
	}
	return all
}

func otherArchitectureScenarios() []scenario {
	const rule = "VirtualMachinesOfAnotherArchitecture"
	some := labels{}
	web, db := vm("web", "node-1", "qemu-tcg", 0, 80), vm("db", "node-2", "qemu-tcg", 0, 80)
	return []scenario{
		{rule: rule, kind: fires, story: "after half an hour, not before, once for all", input: append(foreign(web), foreign(db)...), want: []moment{at(30, some), at(25)},
			describes: "VMs run on nodes of another architecture than their own, where they can only be emulated: 2 of them. For a guest of the node's architecture, CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md); for others it was not measured."},
		{rule: rule, kind: silent, story: "VMs that could be on KVM, those that are, and those of which it is not known", input: slices.Concat(
			web.describedAs("host_arch", "x86_64"), runs(vm("a", "node-1", "kvm", 0, 80)), db.of("qemu", "aarch64").lines()), want: []moment{at(40)}},
		{rule: rule, kind: resolves, story: "when the last one stops", input: append(foreign(vm("web", "node-1", "qemu-tcg", 0, 40)), foreign(vm("db", "node-2", "qemu-tcg", 0, 60))...),
			want: []moment{at(45, some), at(60, some), at(65)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(41, 45, foreign(web)), want: []moment{at(43, some), at(50, some)}},
		{rule: rule, kind: migration, story: "the clock goes on", input: append(foreign(vm("web", "node-1", "qemu-tcg", 0, 22)), foreign(vm("web", "node-2", "qemu-tcg", 23, 80))...),
			want: []moment{at(30, some), at(40, some)}},
		{rule: rule, kind: reboot, story: "silent while the only such VM is away", input: append(foreign(vm("web", "node-1", "qemu-tcg", 0, 40)), foreign(vm("web", "node-1", "qemu-tcg", 52, 99))...),
			want: []moment{at(40, some), at(50), at(80), at(85, some)}},
	}
}
