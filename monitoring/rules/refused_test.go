package rules

// leftAlone is a replica's counter of pods that it left alone because those before them were refused: 0, and from each of
// the minutes on one more.
func leftAlone(number, last int, minutes ...int) line {
	return counter(admissions, replica(number).with("result", "skipped", "reason", "refused_before"), 0, last, minutes...)
}

func refusedScenarios() []scenario {
	const rule = "HypervisorExporterPodsRefused"
	return []scenario{
		{rule: rule, kind: fires, story: "at the first pod that is left alone", input: []line{leftAlone(1, 60, 10)},
			want:      []moment{at(11, labels{}), at(9)},
			describes: "The API server refused pods of VMs that contained the exporter. So the webhook left about 1 of the pods that followed unchanged in the last 30 minutes. Their VMs start without an exporter, or something else still refuses them. The webhook's log names the VMs; the VMs' events name what refuses their pods."},
		{rule: rule, kind: fires, story: "both replicas are one alert", input: []line{leftAlone(1, 60, 10), leftAlone(2, 60, 11)}, want: []moment{at(12, labels{})}},
		{rule: rule, kind: fires, story: "all the while that a VM waits, which KubeVirt tries every 1000 seconds", input: []line{leftAlone(1, 80, 10, 27, 44)},
			want: []moment{at(26, labels{}), at(43, labels{}), at(70, labels{})}},
		{rule: rule, kind: silent, story: "pods that are skipped for another reason", input: []line{leftAlone(1, 60, 10).with("reason", "opted_out")}, want: []moment{at(11), at(30)}},
		{rule: rule, kind: silent, story: "a VM's pod that says it is the webhook is not believed", input: []line{leftAlone(1, 60, 10).with("job", VMsJob)}, want: []moment{at(11)}},
		{rule: rule, kind: resolves, story: "thirty minutes after the last pod", input: []line{leftAlone(1, 60, 10)}, want: []moment{at(39, labels{}), at(41)}},
		{rule: rule, kind: restart, story: "old pods are not told again", input: awayBetween(45, 60, []line{leftAlone(1, 80, 10)}), want: []moment{at(60), at(65)}},
		{rule: rule, kind: reboot, story: "a replica that starts from zero", input: []line{leftAlone(1, 20, 10), metric(admissions, leftAlone(1, 0).labels, 0, 22, 80)}, want: []moment{at(12, labels{}), at(45)}},
	}
}
