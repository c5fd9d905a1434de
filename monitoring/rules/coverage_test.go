package rules

import "slices"

// A VM's pod whose exporter does not answer: a scrape that fails ends all series but up.
func deaf(name, node string, first, last int) []line {
	one := vm(name, node, "kvm", first, last)
	return []line{metric("up", one.target(), 0, first, last)}
}

func targetScenarios() []scenario {
	return slices.Concat(downScenarios(), targetDownScenarios(), restartingScenarios(), libvirtScenarios())
}

func podOf(one run) labels { return of(one.name, one.node, "pod", one.pod) }

func downScenarios() []scenario {
	web, db := vm("web", "node-1", "kvm", 0, 10), vm("db", "node-1", "kvm", 0, 10)
	is := func(r run) labels { return podOf(r).with("value", "0") }
	second := metric("up", web.target().with("endpoint", "other"), 1, 0, 10)
	return []scenario{
		{rule: Down, kind: fires, story: "each pod that does not answer", input: slices.Concat(deaf("web", "node-1", 0, 10), deaf("mail", "node-2", 0, 10), runs(db)),
			want: []moment{at(5, is(web), is(vm("mail", "node-2", "kvm", 0, 10)))}},
		{rule: Down, kind: silent, story: "one of the pod's two targets is up", input: append(deaf("web", "node-1", 0, 10), second), want: []moment{at(5)}},
		{rule: Down, kind: fires, story: "what else is called like the pod answers", input: append(deaf("web", "node-1", 0, 10), runs(web.in("other", web.pod), web.by("shop/app"))...),
			want: []moment{at(5, is(web))}},
		{rule: Down, kind: silent, story: "targets of other jobs", input: []line{metric("up", web.by("shop/app").target(), 0, 0, 10)}, want: []moment{at(5)}},
		{rule: Down, kind: resolves, story: "when the pod is gone", input: deaf("web", "node-1", 0, 10), want: []moment{at(10, is(web)), at(11)}},
		{rule: Down, kind: migration, story: "away from a deaf exporter", input: append(deaf("web", "node-1", 0, 10), vm("web", "node-2", "kvm", 9, 20).lines()...),
			want: []moment{at(10, is(web)), at(11)}},
	}
}

func targetDownScenarios() []scenario {
	const rule = "HypervisorExporterTargetDown"
	web := vm("web", "node-1", "kvm", 0, 40)
	phase := func(namespace, pod, is string) (all []line) { // as kube-state-metrics shows it
		for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
			value := 0.
			if phase == is {
				value = 1
			}
			all = append(all, metric("kube_pod_status_phase", labels{"namespace": namespace, "pod": pod, "phase": phase, "job": "kube-state-metrics"}, value, 0, 40))
		}
		return all
	}
	broken := line{web.target().with("__name__", "up"), []stretch{{first: 0, last: 5, value: 1}, {first: 6, last: 30}, {first: 31, last: 40, value: 1}}}
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: deaf("web", "node-1", 0, 40),
			want:      []moment{at(10, podOf(web)), at(9)},
			describes: "Prometheus has not been able to scrape the exporter of VM shop/web (pod virt-launcher-web-node-1-0, node node-1) for 10 minutes. Meanwhile the VM's hypervisor type is not known."},
		{rule: rule, kind: fires, story: "where kube-state-metrics says that the pod runs",
			input: append(deaf("web", "node-1", 0, 40), phase("shop", web.pod, "Running")...), want: []moment{at(15, podOf(web))}},
		{rule: rule, kind: fires, story: "beside a healthy relay",
			input: append(deaf("web", "node-1", 0, 40), relayUp("node-1", 1, 0, 40)), want: []moment{at(15, podOf(web))}},
		{rule: rule, kind: fires, story: "without any relay, as with direct exposure",
			input: append(deaf("web", "node-1", 0, 40), deaf("db", "node-1", 0, 40)...),
			want:  []moment{at(15, podOf(web), podOf(vm("db", "node-1", "kvm", 0, 40)))}},
		{rule: rule, kind: silent, story: "a pod that has not begun", input: append(deaf("web", "node-1", 0, 40), phase("shop", web.pod, "Pending")...), want: []moment{at(15)}},
		{rule: rule, kind: fires, story: "where other pods have not begun", input: slices.Concat(deaf("web", "node-1", 0, 40),
			phase("shop", "other", "Pending"), phase("other", web.pod, "Pending")), want: []moment{at(15, podOf(web))}},
		{rule: rule, kind: silent, story: "a target that is up", input: runs(web), want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "one of the pod's two targets is up", input: append(deaf("web", "node-1", 0, 40), metric("up", web.target().with("endpoint", "other"), 1, 0, 40)), want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "the node's relay is down",
			input: append(deaf("web", "node-1", 0, 40), relayUp("node-1", 0, 0, 40)), want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "the node's relay is gone, others are there, and VMs that answer",
			input: append(append(deaf("web", "node-1", 0, 40), runs(vm("db", "node-2", "kvm", 0, 40))...), relayUp("node-2", 1, 0, 40)), want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "the node's relay is gone, and something else of the node answers",
			input: append(deaf("web", "node-1", 0, 40), relayUp("node-2", 1, 0, 40), metric("up", labels{"job": "node-exporter", "node": "node-1"}, 1, 0, 40)),
			want:  []moment{at(15)}},
		{rule: rule, kind: fires, story: "another node's relay is down",
			input: append(deaf("web", "node-1", 0, 40), relayUp("node-1", 1, 0, 40), relayUp("node-2", 0, 0, 40)), want: []moment{at(15, podOf(web))}},
		{rule: rule, kind: silent, story: "targets of other jobs", input: []line{metric("up", web.target().with("job", "shop/app"), 0, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: resolves, story: "when the target answers", input: []line{broken}, want: []moment{at(16, podOf(web)), at(15), at(31)}},
		{rule: rule, kind: resolves, story: "when the pod is gone", input: deaf("web", "node-1", 0, 20), want: []moment{at(20, podOf(web)), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, deaf("web", "node-1", 0, 40)),
			want: []moment{at(22, podOf(web)), at(24, podOf(web))}},
		{rule: rule, kind: migration, story: "away from a deaf exporter",
			input: append(deaf("web", "node-1", 0, 20), vm("web", "node-2", "kvm", 18, 40).lines()...), want: []moment{at(19, podOf(web)), at(21), at(35)}},
		{rule: rule, kind: migration, story: "the target's pod waits for its VM no longer than a migration takes",
			input: append(runs(vm("web", "node-2", "kvm", 0, 40)), deaf("web", "node-1", 5, 12)...), want: []moment{at(12), at(20)}},
		{rule: rule, kind: reboot, story: "of five minutes", input: append(deaf("web", "node-1", 10, 15), runs(vm("web", "node-1", "kvm", 0, 9), vm("web", "node-1", "kvm", 17, 40))...),
			want: []moment{at(15), at(25)}},
	}
}

func libvirtScenarios() []scenario {
	const rule = "HypervisorExporterLibvirtUnreachable"
	web := vm("web", "node-1", "unknown", 0, 40)
	without := func(one run) line {
		return metric("hypervisor_exporter_libvirt_up", one.target(), 0, one.first, one.last)
	}
	starting := line{web.target().with("__name__", "hypervisor_exporter_libvirt_up"), []stretch{{first: 0, last: 3}, {first: 4, last: 40, value: 1}}}
	back := line{web.target().with("__name__", "hypervisor_exporter_libvirt_up"), []stretch{{first: 0, last: 20}, {first: 21, last: 40, value: 1}}}
	return []scenario{
		{rule: rule, kind: fires, story: "after five minutes, not before", input: []line{without(web)},
			want:      []moment{at(5, podOf(web)), at(4)},
			describes: "The libvirt of VM shop/web (pod virt-launcher-web-node-1-0, node node-1) has not answered the exporter for 5 minutes: it hangs, has ended, or refuses the exporter."},
		{rule: rule, kind: silent, story: "a VM that is starting", input: []line{starting}, want: []moment{at(3), at(10)}},
		{rule: rule, kind: silent, story: "libvirt answers", input: runs(vm("web", "node-1", "kvm", 0, 40)), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: []line{without(web.by("tenant/exporter"))}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "one of the pod's two targets hears libvirt",
			input: []line{without(web), metric("hypervisor_exporter_libvirt_up", web.target().with("endpoint", "other"), 1, 0, 40)}, want: []moment{at(10)}},
		{rule: rule, kind: resolves, story: "when libvirt answers", input: []line{back}, want: []moment{at(20, podOf(web)), at(21)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: []line{without(vm("web", "node-1", "unknown", 0, 20))}, want: []moment{at(20, podOf(web)), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(10, 14, []line{without(web)}), want: []moment{at(12, podOf(web)), at(14, podOf(web))}},
		{rule: rule, kind: migration, story: "a target that waits for its VM has a libvirt that answers",
			input: append([]line{without(vm("web", "node-1", "unknown", 0, 20))}, vm("web", "node-2", "kvm", 19, 40).lines()...),
			want:  []moment{at(19, podOf(web)), at(21), at(30)}},
		{rule: rule, kind: reboot, story: "libvirt is gone with the pod",
			input: append([]line{without(vm("web", "node-1", "unknown", 0, 3))}, vm("web", "node-1", "kvm", 10, 40).lines()...), want: []moment{at(5), at(20)}},
	}
}
