package rules

// dying is a VM whose exporter is restarted in those minutes.
func dying(one run, minutes ...int) []line {
	return append(one.lines(), counter("hypervisor_exporter_restarts_total", one.target(), one.first, one.last, minutes...))
}

func restartingScenarios() []scenario {
	const rule = "HypervisorExporterRestarting"
	web := vm("web", "node-1", "kvm", 0, 60)
	short := vm("web", "node-1", "kvm", 0, 20)
	half := web
	half.first, half.last = 0, 30
	flapping := dying(web, 10, 12, 14)
	flapping[0] = line{web.target().with("__name__", "up"), []stretch{{first: 0, last: 9, value: 1}, {first: 10, last: 10}, {first: 11, last: 13, value: 1}, {first: 14, last: 60}}}
	return []scenario{
		{rule: rule, kind: fires, story: "at the third time, not before", input: dying(web, 10, 12, 14),
			want:      []moment{at(14, podOf(web)), at(9), at(13)},
			describes: "The exporter of VM shop/web (pod virt-launcher-web-node-1-0, node node-1) died and was restarted about 3 times in the last 30 minutes. The VM is not affected; some scrapes may fail."},
		{rule: rule, kind: fires, story: "three times in half an hour", input: dying(web, 10, 20, 30), want: []moment{at(31, podOf(web)), at(29)}},
		{rule: rule, kind: fires, story: "while its target is down, too", input: flapping, want: []moment{at(14, podOf(web)), at(20, podOf(web))}},
		{rule: rule, kind: fires, story: "two targets of one pod are one alert", input: append(dying(web, 10, 12, 14),
			metric("hypervisor_exporter_restarts_total", web.target().with("endpoint", "other"), 0, 0, 60)), want: []moment{at(15, podOf(web))}},
		{rule: rule, kind: silent, story: "three times in more than half an hour", input: dying(web, 10, 25, 41), want: []moment{at(42), at(55)}},
		{rule: rule, kind: silent, story: "twice", input: dying(web, 10, 12), want: []moment{at(12), at(20), at(40)}},
		{rule: rule, kind: silent, story: "a job that is not ours is not believed",
			input: append(dying(web.by("tenant/exporter"), 10, 12, 14), web.lines()...), want: []moment{at(15)}},
		{rule: rule, kind: resolves, story: "half an hour later", input: dying(web, 10, 12, 14), want: []moment{at(38, podOf(web)), at(43), at(60)}},
		{rule: rule, kind: resolves, story: "when the pod is gone, whatever else is called like it",
			input: append(dying(short, 10, 12, 14), runs(web.in("other", web.pod), web.by("shop/app"))...), want: []moment{at(20, podOf(short)), at(21), at(25)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, dying(web, 10, 12, 14)),
			want: []moment{at(22, podOf(web)), at(24, podOf(web))}},
		{rule: rule, kind: migration, story: "to a pod whose exporter lives",
			input: append(dying(half, 10, 12, 14), dying(vm("web", "node-2", "kvm", 29, 60))...), want: []moment{at(30, podOf(half)), at(31), at(35)}},
		{rule: rule, kind: reboot, story: "the exporter of the new pod counts from zero",
			input: append(dying(short, 10, 12), dying(vm("web", "node-1", "kvm", 25, 60), 30)...), want: []moment{at(30), at(35)}},
	}
}
