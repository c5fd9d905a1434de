package rules

func relayUp(node string, value float64, first, last int) line {
	return metric("up", labels{
		"job": RelayJob, "namespace": relayNamespace, "node": node, "container": "relay",
		"pod": "hypervisor-exporter-relay-" + node, "instance": node + ":9478",
	}, value, first, last)
}

func relayScenarios() []scenario {
	const rule = "HypervisorExporterRelayDown"
	on := func(node string) labels { return labels{"node": node} }
	old := relayUp("node-1", 0, 0, 60).with("pod", "hypervisor-exporter-relay-old")
	forged := relayUp("node-1", 0, 0, 60).with("job", "tenant/hypervisor-exporter-relay")
	halfDeaf := append(deaf("web", "node-1", 0, 60), runs(vm("db", "node-1", "kvm", 0, 60))...)
	return []scenario{
		{rule: rule, kind: fires, story: "after five minutes, not before",
			input: []line{relayUp("node-1", 0, 0, 60), relayUp("node-2", 1, 0, 60)}, want: []moment{at(5, on("node-1")), at(4)},
			describes: "The relay on node node-1 has not answered Prometheus for 5 minutes, or does not exist. VMs on that node cannot be scraped; the VMs themselves are not affected."},
		{rule: rule, kind: fires, story: "a node without a relay, whose VMs are all deaf, beside one with both",
			input: append(append(deaf("web", "node-1", 0, 60), runs(vm("db", "node-2", "kvm", 0, 60))...), relayUp("node-2", 1, 0, 60)), want: []moment{at(5, on("node-1"))}},
		{rule: rule, kind: silent, story: "a node without a relay, of whose VMs one answers",
			input: append(halfDeaf, relayUp("node-2", 1, 0, 60)), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a node without a relay, whose VM answers and shows no type",
			input: []line{metric("up", vm("web", "node-1", "kvm", 0, 60).target(), 1, 0, 60), relayUp("node-2", 1, 0, 60)}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "deaf VMs and no relay anywhere, as with direct exposure", input: deaf("web", "node-1", 0, 60), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "deaf VMs of other jobs", input: []line{relayUp("node-2", 1, 0, 60),
			metric("up", labels{"job": "shop/app", "node": "node-1"}, 0, 0, 60)}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "deaf VMs beside a relay that answers", input: append(deaf("web", "node-1", 0, 60), relayUp("node-1", 1, 0, 60)), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "the pod of before is not gone yet", input: []line{old, relayUp("node-1", 1, 0, 60)}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a job that is not ours", input: []line{forged, relayUp("node-1", 1, 0, 60)}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "an update that takes three minutes",
			input: []line{relayUp("node-1", 1, 0, 10), relayUp("node-1", 0, 12, 14).then(1, 15, 60)}, want: []moment{at(13), at(15), at(20)}},
		{rule: rule, kind: resolves, story: "when the relay answers", input: []line{relayUp("node-1", 0, 0, 20).then(1, 21, 60)}, want: []moment{at(20, on("node-1")), at(21)}},
		{rule: rule, kind: resolves, story: "when the node is taken out of the cluster", input: []line{relayUp("node-1", 0, 0, 20), relayUp("node-2", 1, 0, 60)},
			want: []moment{at(20, on("node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, []line{relayUp("node-1", 0, 0, 60)}),
			want: []moment{at(22, on("node-1")), at(24, on("node-1"))}},
		{rule: rule, kind: migration, story: "of all VMs away from the node does not hide the relay",
			input: append(runs(vm("web", "node-1", "kvm", 0, 10), vm("web", "node-2", "kvm", 10, 60)), relayUp("node-1", 0, 0, 60), relayUp("node-2", 1, 0, 60)),
			want:  []moment{at(20, on("node-1"))}},
		{rule: rule, kind: reboot, story: "of four minutes is not told",
			input: []line{relayUp("node-1", 1, 0, 10).then(0, 11, 14).then(1, 15, 60)}, want: []moment{at(14), at(20)}},
	}
}
