package rules

// said is what KubeVirt shows for a running VM, by the virt-controller of that number.
func said(one run, controller string) line {
	return metric("kubevirt_vmi_info", labels{
		"job": "kubevirt-prometheus-metrics", "pod": "virt-controller-" + controller, "container": "virt-controller",
		"namespace": one.namespace, "name": one.name, "node": one.node, "phase": "running", "vmi_pod": one.pod, "os": "linux",
	}, 1, one.first, one.last)
}

func enabled(namespace string, first, last int) line {
	return metric("kube_namespace_labels", labels{
		"job": "kube-state-metrics", "namespace": namespace, "label_hypervisor_exporter_kubevirt_io_inject": "enabled",
	}, 1, first, last)
}

// deafIn is a VM of that namespace whose exporter does not answer.
func deafIn(namespace, name string) []line {
	one := vm(name, "node-1", "kvm", 0, 60)
	return []line{metric("up", one.in(namespace, one.pod).target(), 0, 0, 60)}
}

func coverageScenarios() []scenario {
	const rule = "VirtualMachineWithoutHypervisorMetric"
	web, db, mail := vm("web", "node-1", "kvm", 0, 60), vm("db", "node-1", "kvm", 0, 60), vm("mail", "node-1", "kvm", 0, 60)
	bare := []line{said(web, "a"), said(web, "b"), enabled("shop", 0, 60)}
	unlabelled := metric("kube_namespace_labels", labels{"job": "kube-state-metrics", "namespace": "shop"}, 1, 0, 60)
	out := func(metricName, label string) line {
		return metric(metricName, labels{"job": "kube-state-metrics", "namespace": "shop", "pod": web.pod, label: "false"}, 1, 0, 60)
	}
	byHand := web.in("shop", "made-by-hand")
	later := vm("web", "node-1", "kvm", 20, 60)
	moved := vm("web", "node-2", "kvm", 20, 60)
	movedSaid := moved
	movedSaid.first = 21
	short := vm("web", "node-1", "kvm", 0, 19)
	unnamed := said(web, "a").with("vmi_pod", "<none>") // as in KubeVirt 1.5; later, without the label
	return []scenario{
		{rule: rule, kind: fires, story: "after fifteen minutes, not before; two virt-controllers are one alert", input: bare,
			want:      []moment{at(15, of("web", "node-1")), at(14)},
			describes: "VM shop/web runs on node node-1, by KubeVirt's metrics, in a namespace that is enabled for the exporter, but its pod has no hypervisor metric. Most likely it started before the namespace was enabled, or while the webhook was down."},
		{rule: rule, kind: fires, story: "where kube-state-metrics does not show the label, a namespace with a target is enabled",
			input: append(db.lines(), said(web, "a"), said(db, "a"), unlabelled), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a target that answers but shows no type that there is, beside one of another job that is down",
			input: append(bare, metric("up", web.target(), 1, 0, 60), metric("kubevirt_vmi_hypervisor_info", web.target().with("hypervisor_type", "xen"), 1, 0, 60),
				metric("up", web.by("shop/app").target(), 0, 0, 60)), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "pods that were relabelled as another VM's, whether they answer or not",
			input: append(append(bare, said(mail, "a"), metric("up", db.in("shop", mail.pod).target(), 0, 0, 60)), db.in("shop", web.pod).lines()...),
			want:  []moment{at(20, of("web", "node-1"), of("mail", "node-1"))}},
		{rule: rule, kind: fires, story: "a metric of a job that is not ours", input: append(bare, web.by("tenant/exporter").lines()...), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a metric of a VM of the same name in another namespace",
			input: append(bare, web.in("other", web.pod).lines()...), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "targets that are down, of other VMs",
			input: append(bare, deafIn("other", "web")...), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a pod of the same name in another namespace opted out", input: append(bare,
			metric("kube_pod_labels", labels{"namespace": "other", "pod": web.pod, "label_hypervisor_exporter_kubevirt_io_inject": "false"}, 1, 0, 60)),
			want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "another VM's target is down", input: append(bare, deafIn("shop", "db")...), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a pod made by hand shows the VM", input: append(bare, byHand.lines()...), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: fires, story: "a pod made by hand that is down",
			input: append(bare, metric("up", byHand.target(), 0, 0, 60)), want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: silent, story: "KubeVirt names no pod", input: []line{unnamed, enabled("shop", 0, 60)}, want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the metric is there", input: append(bare, web.lines()...), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the target is down, which has an alert of its own",
			input: append(bare, deaf("web", "node-1", 0, 60)...), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "KubeVirt's metrics are not scraped", input: append(db.lines(), enabled("shop", 0, 60)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the namespace is not enabled", input: []line{said(web, "a"), unlabelled, enabled("other", 0, 60)}, want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "the namespace's label was taken off, old VMs keep their sidecar",
			input: append(db.lines(), said(web, "a"), enabled("other", 0, 60)), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "neither labels nor targets tell", input: []line{said(web, "a")}, want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "targets of another job do not enable a namespace",
			input: []line{said(web, "a"), metric("up", labels{"job": "shop/app", "namespace": "shop"}, 1, 0, 60)}, want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "opted out by annotation",
			input: append(bare, out("kube_pod_annotations", "annotation_hypervisor_exporter_kubevirt_io_inject")), want: []moment{at(20)}},
		{rule: rule, kind: silent, story: "opted out by label",
			input: append(bare, out("kube_pod_labels", "label_hypervisor_exporter_kubevirt_io_inject")), want: []moment{at(20)}},
		{rule: rule, kind: fires, story: "another pod opted out", input: append(bare,
			metric("kube_pod_labels", labels{"namespace": "shop", "pod": "other", "label_hypervisor_exporter_kubevirt_io_inject": "false"}, 1, 0, 60),
			metric("kube_pod_labels", labels{"namespace": "shop", "pod": web.pod, "label_hypervisor_exporter_kubevirt_io_inject": "true"}, 1, 0, 60),
			metric("kube_pod_annotations", labels{"namespace": "shop", "pod": web.pod, "annotation_hypervisor_exporter_kubevirt_io_inject": "true"}, 1, 0, 60)),
			want: []moment{at(20, of("web", "node-1"))}},
		{rule: rule, kind: silent, story: "a VM that does not run yet", input: []line{said(web, "a").with("phase", "scheduling"), enabled("shop", 0, 60)}, want: []moment{at(20)}},
		{rule: rule, kind: resolves, story: "when the VM gets an exporter",
			input: append(append([]line{said(short, "a"), said(later, "a")}, enabled("shop", 0, 60)), later.lines()...), want: []moment{at(19, of("web", "node-1")), at(20)}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: []line{said(vm("web", "node-1", "kvm", 0, 20), "a"), enabled("shop", 0, 60)},
			want: []moment{at(20, of("web", "node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, bare),
			want: []moment{at(22, of("web", "node-1")), at(24, of("web", "node-1"))}},
		{rule: rule, kind: migration, story: "which gives the VM an exporter",
			input: append([]line{said(vm("web", "node-1", "kvm", 0, 20), "a"), said(movedSaid, "a"), enabled("shop", 0, 60)},
				moved.lines()...), want: []moment{at(19, of("web", "node-1")), at(22), at(40)}},
		{rule: rule, kind: reboot, story: "silent while the VM is away",
			input: []line{said(vm("web", "node-1", "kvm", 0, 20), "a"), said(vm("web", "node-1", "kvm", 30, 60), "a"), enabled("shop", 0, 60)},
			want:  []moment{at(20, of("web", "node-1")), at(25), at(45, of("web", "node-1"))}},
	}
}
