package rules

func certificateScenarios() []scenario {
	const rule = "HypervisorExporterCertificateExpiring"
	of := func(certificate string) labels { return labels{"serves": "webhook", "certificate": certificate} }
	ofRelay := func(certificate string) labels { return labels{"serves": "relay", "certificate": certificate} }
	certs := labels{"job": WebhookJob, "namespace": "hypervisor-exporter", "container": "certs", "pod": "hypervisor-exporter-certs-1"}
	inSecret := func(certificate string, notAfter float64) line {
		return metric("hypervisor_exporter_webhook_rotation_certificate_not_after_timestamp_seconds",
			certs.with("serves", "webhook", "certificate", certificate), notAfter, 0, 80)
	}
	relays := func(certificate string, notAfter float64) line {
		return inSecret(certificate, notAfter).with("serves", "relay")
	}
	relayServes := func(node string, notAfter float64) line {
		return metric("hypervisor_exporter_relay_certificate_not_after_timestamp_seconds", relayUp(node, 1, 0, 80).labels, notAfter, 0, 80)
	}
	forged := []line{serving(1, day, 0, 80).with("job", VMsJob), inSecret("authority", day).with("job", VMsJob),
		relays("serving", day).with("job", VMsJob), relayServes("node-1", day).with("job", VMsJob)}
	renewed := serving(1, 7*day+45*60, 0, 50).then(30*day, 51, 80)
	return []scenario{
		{rule: rule, kind: fires, story: "less than 7 days for ten minutes, by the replica that is worst",
			input:     []line{serving(1, 7*day+30*60, 0, 80), serving(2, 30*day, 0, 80)},
			want:      []moment{at(41, of("serving")), at(30), at(40)},
			describes: "The webhook's serving certificate expires in 6d 23h 49m 0s. It should have been renewed days ago. Once it has expired, VMs start without an exporter (webhook) or cannot be scraped (relay)."},
		{rule: rule, kind: fires, story: "the CA at less than 20 days", input: []line{serving(1, 15*day, 0, 80), inSecret("authority", 20*day-1), inSecret("serving", 15*day)},
			want: []moment{at(10, of("authority"))}},
		{rule: rule, kind: fires, story: "the relay's, of which only the Secret tells",
			input: []line{serving(1, 15*day, 0, 80), relays("authority", 20*day-1), relays("serving", 7*day-1)},
			want:  []moment{at(20, ofRelay("authority"), ofRelay("serving")), at(9)}},
		{rule: rule, kind: silent, story: "the relay's are due but not late",
			input: []line{serving(1, 15*day, 0, 80), relays("authority", 21*day), relays("serving", 8*day)}, want: []moment{at(40)}},
		{rule: rule, kind: fires, story: "both", input: []line{serving(1, day, 0, 80), inSecret("authority", day)}, want: []moment{at(20, of("authority"), of("serving"))}},
		{rule: rule, kind: fires, story: "a certificate that has ended", input: []line{serving(1, 30*60, 0, 80)}, want: []moment{at(60, of("serving"))}},
		{rule: rule, kind: silent, story: "the renewal is due but not late", input: []line{serving(1, 8*day, 0, 80), inSecret("authority", 21*day), inSecret("serving", 8*day)}, want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "the serving certificate in the Secret is the webhook's to tell, once it serves it",
			input: []line{serving(1, 8*day, 0, 80), inSecret("serving", day)}, want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "no certificate process, as with cert-manager",
			input: []line{serving(1, 29*day, 0, 80), relayServes("node-1", 29*day)}, want: []moment{at(40)}},
		{rule: rule, kind: fires, story: "no certificate process: by the relay that is worst",
			input:     []line{serving(1, 29*day, 0, 80), relayServes("node-1", 29*day), relayServes("node-2", 7*day+30*60)},
			want:      []moment{at(41, ofRelay("serving")), at(30), at(40)},
			describes: "The relay's serving certificate expires in 6d 23h 49m 0s. It should have been renewed days ago. Once it has expired, VMs start without an exporter (webhook) or cannot be scraped (relay)."},
		{rule: rule, kind: fires, story: "a relay serves the old one although the Secret has a new one",
			input: []line{serving(1, 29*day, 0, 80), relays("serving", 29*day), relayServes("node-1", day)}, want: []moment{at(20, ofRelay("serving"))}},
		{rule: rule, kind: fires, story: "the webhook's and the relay's at once",
			input: []line{serving(1, day, 0, 80), relayServes("node-1", day)}, want: []moment{at(20, of("serving"), ofRelay("serving"))}},
		{rule: rule, kind: silent, story: "a VM's pod that says it is the webhook is not believed", input: forged, want: []moment{at(40)}},
		{rule: rule, kind: silent, story: "the limits to the second",
			input: []line{serving(1, 7*day+69*60, 0, 80), inSecret("authority", 20*day+69*60), relays("serving", 7*day+69*60),
				relayServes("node-1", 7*day+69*60)}, want: []moment{at(79)}},
		{rule: rule, kind: fires, story: "the limits to the second",
			input: []line{serving(1, 7*day+69*60-1, 0, 80), inSecret("authority", 20*day+69*60-1), relays("serving", 7*day+69*60-1)},
			want:  []moment{at(79, of("serving"), of("authority"), ofRelay("serving")), at(78)}},
		{rule: rule, kind: resolves, story: "when it is renewed", input: []line{serving(1, 7*day, 0, 50).then(30*day, 51, 80)},
			want: []moment{at(50, of("serving")), at(51)}},
		{rule: rule, kind: resolves, story: "renewed before it fires", input: []line{renewed}, want: []moment{at(50), at(60)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, []line{serving(1, day, 0, 80)}), want: []moment{at(22, of("serving")), at(24, of("serving"))}},
		{rule: rule, kind: reboot, story: "of the node of one replica: the other tells",
			input: []line{serving(1, day, 0, 20), serving(2, day, 0, 80)}, want: []moment{at(25, of("serving"))}},
	}
}
