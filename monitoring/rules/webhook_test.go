package rules

import (
	"fmt"
	"slices"
)

func webhookScenarios() []scenario {
	return slices.Concat(webhookDownScenarios(), webhookErrorScenarios(), bypassedScenarios(), refusedScenarios())
}

func replica(number int) labels {
	return labels{
		"job": WebhookJob, "namespace": "hypervisor-exporter", "container": "webhook", "endpoint": "metrics",
		"pod": fmt.Sprintf("hypervisor-exporter-webhook-%d", number), "instance": fmt.Sprintf("10.0.0.%d:8080", number),
	}
}

const (
	day    = 86400.
	served = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"

	admissions = "hypervisor_exporter_webhook_admissions_total"
)

// serving is what a replica shows that has a certificate until then.
func serving(number int, notAfter float64, first, last int) line {
	return metric(served, replica(number), notAfter, first, last)
}

// stood is a replica that was a target, and had a certificate until then.
func stood(number int, notAfter float64, first, last int) []line {
	return []line{serving(number, notAfter, first, last), metric("up", replica(number), 1, first, last)}
}

func webhookDownScenarios() []scenario {
	const rule = "HypervisorExporterWebhookDown"
	forged := []line{
		metric(served, vm("web", "node-1", "kvm", 0, 60).target(), 20*day, 0, 60),
		metric("up", vm("web", "node-1", "kvm", 0, 60).target(), 1, 0, 60),
	}
	certs := metric("up", replica(1).with("container", "certs"), 1, 0, 60)
	down := at(40, labels{})
	unknown := []moment{at(40)}
	return []scenario{
		{rule: rule, kind: fires, story: "five minutes after the last replica, not before",
			input:     slices.Concat(stood(1, 20*day, 0, 30), stood(2, 20*day, 0, 20), []line{metric("up", replica(1), 0, 32, 60)}),
			want:      []moment{at(36, labels{}), at(30), at(35), down},
			describes: "Prometheus has seen no replica of the webhook with a valid certificate for 5 minutes. VMs that start now have no exporter until they are restarted or migrated."},
		{rule: rule, kind: fires, story: "replicas without a certificate", input: []line{metric("up", replica(1), 1, 0, 60)}, want: []moment{down}},
		{rule: rule, kind: fires, story: "replicas with a certificate that has ended",
			input: stood(1, 30*60, 0, 60), want: []moment{at(36, labels{}), at(29), at(34), down}},
		{rule: rule, kind: fires, story: "a VM's pod that says it is the webhook is not believed", input: forged, want: []moment{down}, beside: unknown},
		{rule: rule, kind: fires, story: "no replica ever, only the certificate process", input: []line{certs}, want: []moment{down}, beside: unknown},
		{rule: rule, kind: fires, story: "replicas that were gone for a day and longer", input: stood(1, 20*day, 0, 10),
			want:   []moment{at(1440, labels{}), at(1470, labels{}), at(1600, labels{})},
			beside: []moment{at(1440, labels{}), at(1470)}},
		{rule: rule, kind: silent, story: "one of two replicas", input: append(stood(1, 20*day, 0, 60), stood(2, 20*day, 0, 10)...), want: []moment{at(30)}},
		{rule: rule, kind: silent, story: "replicas that are replaced",
			input: append(stood(1, 20*day, 0, 10), stood(2, 20*day, 13, 60)...), want: []moment{at(12), at(20)}},
		{rule: rule, kind: resolves, story: "when a replica is back", input: append(stood(1, 20*day, 0, 10), stood(2, 20*day, 30, 60)...),
			want: []moment{at(29, labels{}), at(30)}},
		{rule: rule, kind: restart, story: "of twenty minutes", input: awayBetween(10, 30, stood(1, 20*day, 0, 60)),
			want: []moment{at(10), at(14), at(30), at(40)}},
		{rule: rule, kind: reboot, story: "of the node of one of two replicas",
			input: slices.Concat(stood(1, 20*day, 0, 10), stood(1, 20*day, 20, 60), stood(2, 20*day, 0, 60)), want: []moment{at(18), at(30)}},
	}
}

// counted is a replica's counter of errors: 0, and 1 from minute event on.
func counted(number int, reason string, event, last int) line {
	return counter(admissions, replica(number).with("result", "error", "reason", reason), 0, last, event)
}

func webhookErrorScenarios() []scenario {
	const rule = "HypervisorExporterWebhookErrors"
	because := func(reason string) labels { return labels{"reason": reason} }
	return []scenario{
		{rule: rule, kind: fires, story: "at the first error", input: []line{counted(1, "panic", 10, 60), counted(2, "unencodable_patch", 60, 61)},
			want:      []moment{at(11, because("panic")), at(9)},
			describes: "The webhook had an internal error in about 1 admissions in the last 15 minutes (reason panic). VMs among them started without an exporter."},
		{rule: rule, kind: fires, story: "both replicas are one alert for each reason",
			input: []line{counted(1, "panic", 10, 60), counted(2, "panic", 11, 60), counted(2, "unencodable_patch", 12, 60)},
			want:  []moment{at(15, because("panic"), because("unencodable_patch"))}},
		{rule: rule, kind: silent, story: "pods that are skipped", input: []line{counted(1, "opted_out", 10, 60).with("result", "skipped")}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "a VM's pod that says it is the webhook is not believed", input: []line{counted(1, "panic", 10, 60).with("job", VMsJob)}, want: []moment{at(15)}},
		{rule: rule, kind: resolves, story: "fifteen minutes after the last error", input: []line{counted(1, "panic", 10, 60)},
			want: []moment{at(24, because("panic")), at(26)}},
		{rule: rule, kind: restart, story: "an error meanwhile fires", input: awayBetween(8, 12, []line{counted(1, "panic", 10, 60)}),
			want: []moment{at(12, because("panic"))}},
		{rule: rule, kind: restart, story: "old errors are not told again", input: awayBetween(30, 50, []line{counted(1, "panic", 10, 80)}),
			want: []moment{at(50), at(55)}},
		{rule: rule, kind: reboot, story: "a replica that starts from zero",
			input: []line{counted(1, "panic", 10, 40), metric(admissions,
				replica(1).with("result", "error", "reason", "panic"), 0, 42, 80)}, want: []moment{at(12, because("panic")), at(45)}},
	}
}

func bypassedScenarios() []scenario {
	const rule = "HypervisorExporterWebhookBypassed"
	apiserver := func(instance string) labels {
		return labels{"job": "apiserver", "instance": instance, "name": "inject.hypervisor-exporter.kubevirt.io", "type": "admit"}
	}
	upSince := func(first int, job, instance string) line {
		return metric("up", labels{"job": job, "instance": instance}, 1, first, 80)
	}
	up := upSince(0, "apiserver", "a")
	count := func(value float64, first, last int) line {
		return metric("apiserver_admission_webhook_fail_open_count", apiserver("a"), value, first, last)
	}
	return []scenario{
		{rule: rule, kind: fires, story: "at the first event, before which there is no series", input: []line{upSince(5, "apiserver", "a"), count(1, 20, 80)},
			want:      []moment{at(20, labels{}), at(19)},
			describes: "The API server got no answer from the webhook within 2 seconds for about 1 pods in the last 15 minutes, and created them without it. VMs among them have no exporter. Dry runs of kubectl hypervisor check count, too."},
		{rule: rule, kind: fires, story: "at a later event", input: []line{up, count(3, 0, 29).then(4, 30, 80)}, want: []moment{at(31, labels{}), at(29), at(43, labels{}), at(46)}},
		{rule: rule, kind: fires, story: "two API servers are one alert", input: []line{up, upSince(0, "apiserver", "b"),
			count(1, 20, 80), metric("apiserver_admission_webhook_fail_open_count", apiserver("b"), 1, 20, 80)}, want: []moment{at(21, labels{})}},
		{rule: rule, kind: silent, story: "other people's webhooks, while ours is at zero", input: []line{up, count(0, 20, 80),
			count(1, 20, 80).with("name", "other.example.com"), count(3, 0, 19).then(4, 20, 80).with("name", "another.example.com")}, want: []moment{at(21)}},
		{rule: rule, kind: silent, story: "a VM's pod that says it is the API server is not believed",
			input: []line{up, upSince(0, VMsJob, "a"), count(3, 0, 19).then(4, 20, 80).with("job", VMsJob)}, want: []moment{at(21)}},
		{rule: rule, kind: silent, story: "the API server's metrics are not scraped", input: nil, want: []moment{at(21)}},
		{rule: rule, kind: silent, story: "an old count at an API server that is new to Prometheus, beside an older one and another program at its address",
			input: []line{upSince(20, "apiserver", "a"), upSince(0, "apiserver", "b"), upSince(0, "scheduler", "a"), count(7, 20, 80)}, want: []moment{at(21), at(40)}},
		{rule: rule, kind: resolves, story: "fifteen minutes after the last event", input: []line{up, count(1, 20, 80)}, want: []moment{at(34, labels{}), at(35)}},
		{rule: rule, kind: restart, story: "old events are not told again", input: awayBetween(40, 60, []line{up, count(1, 20, 80)}), want: []moment{at(60), at(70)}},
		{rule: rule, kind: reboot, story: "an API server that starts without the series", input: []line{
			metric("up", labels{"job": "apiserver", "instance": "a"}, 1, 0, 40).then(1, 45, 80), count(5, 0, 40)}, want: []moment{at(39), at(46), at(60)}},
	}
}
