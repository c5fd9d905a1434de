package rules

// failures is Prometheus' counter for a group of rules: 0, and so many from the minutes on.
func failures(group string, first, last int, minutes ...int) line {
	return counter("prometheus_rule_evaluation_failures_total", labels{
		"job": "prometheus-k8s", "instance": "10.0.0.1:9090", "rule_group": "/etc/prometheus/rules/hypervisor-exporter-vms.yaml;" + group,
	}, first, last, minutes...)
}

func evaluationScenarios() []scenario {
	const rule = "HypervisorExporterRulesFailing"
	group := func(name string) labels { return labels{"group": name} }
	const ours = "hypervisor-exporter-vms"
	thrice := failures(ours, 0, 60, 10, 11, 12)
	return []scenario{
		{rule: rule, kind: fires, story: "at the second failure", input: []line{failures(ours, 0, 60, 10, 12)},
			want:      []moment{at(12, group(ours)), at(9), at(11)},
			describes: "Prometheus failed about 2 times in the last 15 minutes to evaluate a rule of the group hypervisor-exporter-vms. Alerts and panels that depend on it show nothing meanwhile."},
		{rule: rule, kind: fires, story: "two replicas of Prometheus are one alert", input: []line{thrice, thrice.with("instance", "10.0.0.2:9090")}, want: []moment{at(15, group(ours))}},
		{rule: rule, kind: fires, story: "each of our groups", input: []line{thrice, failures("hypervisor-exporter-nodes", 0, 60, 10, 15, 20),
			failures("hypervisor-exporter-webhook", 0, 60, 10, 11, 12), failures("hypervisor-exporter-relay", 0, 60, 10, 11, 12)},
			want: []moment{at(20, group(ours), group("hypervisor-exporter-nodes"), group("hypervisor-exporter-webhook"), group("hypervisor-exporter-relay"))}},
		{rule: rule, kind: silent, story: "one failure, as of a query that timed out", input: []line{failures(ours, 0, 60, 10)}, want: []moment{at(11), at(20)}},
		{rule: rule, kind: silent, story: "other people's rules", input: []line{failures("node-exporter", 0, 60, 10, 11, 12), failures("not-"+ours, 0, 60, 10, 11, 12)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "a VM's pod that says it is Prometheus is not believed", input: []line{thrice.with("job", VMsJob)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "Prometheus does not scrape itself", input: nil, want: []moment{at(15)}},
		{rule: rule, kind: resolves, story: "a quarter of an hour after the last failure but one", input: []line{failures(ours, 0, 60, 10, 12)}, want: []moment{at(20, group(ours)), at(28)}},
		{rule: rule, kind: restart, story: "old failures do not fire again", input: awayBetween(30, 50, []line{failures(ours, 0, 80, 10, 11, 12)}), want: []moment{at(15, group(ours)), at(50), at(60)}},
		{rule: rule, kind: reboot, story: "a Prometheus that starts from zero", input: []line{failures(ours, 0, 20, 10, 11, 12), failures(ours, 25, 60)}, want: []moment{at(15, group(ours)), at(45)}},
	}
}
