package rules

import "slices"

func guestScenarios() []scenario {
	return slices.Concat(pausedByErrorScenarios(), monitorStuckScenarios(), enlightenmentsMissingScenarios())
}

// pausedFor is a VM on KVM that is paused for that reason while its page is there.
func pausedFor(reason string, r run) []line {
	return append(runs(r), metric("kubevirt_vmi_hypervisor_state_info", r.target().with("state", "paused", "reason", reason), 1, r.first, r.last))
}

func pausedByErrorScenarios() []scenario {
	const rule = "VirtualMachinePausedByError"
	failed := func(node string) labels { return of("web", node, "reason", "ioerror") }
	web := vm("web", "node-1", "kvm", 0, 20)
	return []scenario{
		{rule: rule, kind: fires, story: "after a minute, not before", input: pausedFor("ioerror", web),
			want:      []moment{at(1, failed("node-1")), at(0)},
			describes: "VM shop/web on node node-1 has been paused by QEMU for more than a minute (reason ioerror). It executes nothing, although the VMI's phase is Running."},
		{rule: rule, kind: fires, story: "for each reason of its own", input: slices.Concat(pausedFor("watchdog", web),
			pausedFor("crashed", vm("a", "node-1", "kvm", 0, 20)), pausedFor("api_error", vm("b", "node-1", "kvm", 0, 20))),
			want: []moment{at(5, of("web", "node-1", "reason", "watchdog"), of("a", "node-1", "reason", "crashed"), of("b", "node-1", "reason", "api_error"))}},
		{rule: rule, kind: silent, story: "a user's pause, a migration and a crash without a pause", input: slices.Concat(pausedFor("user", web),
			pausedFor("migration", vm("a", "node-1", "kvm", 0, 20)),
			[]line{metric("kubevirt_vmi_hypervisor_state_info", web.target().with("state", "running", "reason", "crashed"), 1, 0, 20)}), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: pausedFor("ioerror", web.by("tenant/exporter")), want: []moment{at(10)}},
		{rule: rule, kind: resolves, story: "when the VM goes on", input: append(runs(web),
			metric("kubevirt_vmi_hypervisor_state_info", web.target().with("state", "paused", "reason", "ioerror"), 1, 0, 9),
			metric("kubevirt_vmi_hypervisor_state_info", web.target().with("state", "running", "reason", "unpaused"), 1, 10, 20)),
			want: []moment{at(9, failed("node-1")), at(10)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(10, 14, pausedFor("ioerror", web)),
			want: []moment{at(12, failed("node-1")), at(15, failed("node-1"))}},
		{rule: rule, kind: migration, story: "the clock restarts on the other node",
			input: append(pausedFor("ioerror", vm("web", "node-1", "kvm", 0, 9)), pausedFor("ioerror", vm("web", "node-2", "kvm", 10, 20))...),
			want:  []moment{at(9, failed("node-1")), at(10), at(11, failed("node-2"))}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: append(pausedFor("ioerror", vm("web", "node-1", "kvm", 0, 9)), pausedFor("ioerror", vm("web", "node-1", "kvm", 15, 20))...),
			want:  []moment{at(9, failed("node-1")), at(12), at(16, failed("node-1"))}},
	}
}

// controlled is a VM on KVM whose QEMU's monitor has been in a state for so many seconds.
func controlled(state string, seconds float64, r run) []line {
	return append(runs(r), metric("kubevirt_vmi_hypervisor_control_state_seconds", r.target().with("control_state", state), seconds, r.first, r.last))
}

func monitorStuckScenarios() []scenario {
	const rule = "VirtualMachineMonitorStuck"
	web := vm("web", "node-1", "kvm", 0, 20)
	stuck := func(r run) []line { return controlled("occupied", 301, r) }
	return []scenario{
		{rule: rule, kind: fires, story: "after two minutes, not before", input: stuck(web),
			want: []moment{at(2, of("web", "node-1")), at(1)},
			describes: "The QEMU of VM shop/web on node node-1 has not answered a command of libvirt for more than 5 minutes, or their connection has failed. " +
				"KubeVirt can neither stop nor migrate the VM; the guest may hang, too."},
		{rule: rule, kind: fires, story: "the connection failed", input: controlled("error", 0, web), want: []moment{at(5, of("web", "node-1"))}},
		{rule: rule, kind: silent, story: "five minutes, a long job and an idle monitor", input: slices.Concat(controlled("occupied", 300, web),
			controlled("job", 4000, vm("a", "node-1", "kvm", 0, 20)), controlled("ok", 0, vm("b", "node-1", "kvm", 0, 20))), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed",
			input: append(stuck(web.by("tenant/exporter")), controlled("error", 0, vm("a", "node-1", "kvm", 0, 20).by("tenant/exporter"))...), want: []moment{at(10)}},
		{rule: rule, kind: resolves, story: "when QEMU answers", input: append(runs(web),
			metric("kubevirt_vmi_hypervisor_control_state_seconds", web.target().with("control_state", "occupied"), 400, 0, 9),
			metric("kubevirt_vmi_hypervisor_control_state_seconds", web.target().with("control_state", "ok"), 0, 10, 20)),
			want: []moment{at(9, of("web", "node-1")), at(10)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(10, 14, stuck(web)),
			want: []moment{at(12, of("web", "node-1")), at(16, of("web", "node-1"))}},
		{rule: rule, kind: migration, story: "the clock restarts on the other node",
			input: append(stuck(vm("web", "node-1", "kvm", 0, 9)), stuck(vm("web", "node-2", "kvm", 10, 20))...),
			want:  []moment{at(9, of("web", "node-1")), at(11), at(12, of("web", "node-2"))}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: append(stuck(vm("web", "node-1", "kvm", 0, 9)), stuck(vm("web", "node-1", "kvm", 15, 20))...),
			want:  []moment{at(9, of("web", "node-1")), at(12), at(17, of("web", "node-1"))}},
	}
}

// windows is a VM with these enlightenments whose guest agent names that system.
func windows(hyperv, system string, r run) []line {
	return append(r.describedAs("hyperv", hyperv), metric("kubevirt_vmi_info", labels{"job": "kubevirt-prometheus-metrics", "namespace": r.namespace, "name": r.name, "node": r.node,
		"phase": "running", "guest_os_name": system, "vmi_pod": r.pod}, 1, r.first, r.last))
}

func enlightenmentsMissingScenarios() []scenario {
	const rule, system = "VirtualMachineWithoutEnlightenments", "Microsoft Windows"
	web := vm("web", "node-1", "kvm", 0, 60)
	lacks := func(hyperv, node string) labels { return of("web", node, "hyperv", hyperv) }
	forged := runs(web)
	for i, one := range forged {
		forged[i] = one.with("hyperv", "none")
	}
	forged = append(forged, metric("kubevirt_vmi_info", web.target().with("phase", "running", "guest_os_name", system), 1, 0, 60))
	failed := windows("none", system, vm("web", "node-1", "kvm", 0, 60))
	failed[len(failed)-1] = failed[len(failed)-1].with("phase", "failed")
	return []scenario{
		{rule: rule, kind: fires, story: "after half an hour, not before", input: windows("none", system, web),
			want: []moment{at(30, lacks("none", "node-1")), at(29)},
			describes: "VM shop/web on node node-1 runs Windows, by its guest agent, and lacks Hyper-V enlightenments that KubeVirt's preferences for Windows switch on (hyperv is none). " +
				"It uses more CPU than it has to."},
		{rule: rule, kind: fires, story: "some are on", input: windows("partial", "Microsoft Windows Server 2022", web), want: []moment{at(40, lacks("partial", "node-1"))}},
		{rule: rule, kind: silent, story: "all are on, Linux, and a guest that is emulated", input: slices.Concat(windows("full", system, web),
			windows("none", "Fedora Linux", vm("a", "node-1", "kvm", 0, 60)), windows("none", system, vm("b", "node-1", "qemu-tcg", 0, 60))), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "its namesake in another namespace runs Windows",
			input: append(windows("none", "Fedora Linux", web), windows("full", system, web.in("office", "virt-launcher-web"))...), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "a page cannot name the system of the guest", input: forged, want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed", input: windows("none", system, web.by("tenant/exporter")), want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "KubeVirt says that it has failed", input: failed, want: []moment{at(40)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: windows("none", system, vm("web", "node-1", "kvm", 0, 40)), want: []moment{at(40, lacks("none", "node-1")), at(41)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(40, 44, windows("none", system, web)),
			want: []moment{at(42, lacks("none", "node-1")), at(45, lacks("none", "node-1"))}},
		{rule: rule, kind: migration, story: "the clock restarts on the other node",
			input: append(windows("none", system, vm("web", "node-1", "kvm", 0, 39)), windows("none", system, vm("web", "node-2", "kvm", 40, 80))...),
			want:  []moment{at(39, lacks("none", "node-1")), at(60), at(70, lacks("none", "node-2"))}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: append(windows("none", system, vm("web", "node-1", "kvm", 0, 39)), windows("none", system, vm("web", "node-1", "kvm", 45, 90))...),
			want:  []moment{at(39, lacks("none", "node-1")), at(50), at(75, lacks("none", "node-1"))}},
	}
}
