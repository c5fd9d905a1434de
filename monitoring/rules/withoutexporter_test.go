package rules

import "slices"

const kubeState = "kube-state-metrics"

// listed is what KubeVirt's metrics show of a VM that runs in that pod.
func listed(one run) line {
	return metric("kubevirt_vmi_info", labels{
		"job": "kubevirt", "namespace": one.namespace, "name": one.name, "node": one.node, "phase": "running", "vmi_pod": one.pod,
	}, 1, one.first, one.last)
}

// requests is a request of the pod's container, as kube-state-metrics shows it.
func requests(one run, container, resource string) line {
	return metric("kube_pod_container_resource_requests", labels{
		"job": kubeState, "namespace": one.namespace, "pod": one.pod, "container": container, "resource": resource, "node": one.node,
	}, 1, one.first, one.last)
}

// bare is a VM whose pod requests memory and no device.
func bare(one run) []line { return []line{listed(one), requests(one, "compute", "memory")} }

func withoutExporterScenarios() []scenario {
	return slices.Concat(withoutDeviceScenarios(), nodeWithoutDeviceScenarios(), emulationEnabledScenarios())
}

func withoutDeviceScenarios() []scenario {
	const rule = "VirtualMachineWithoutKVMDevice"
	web := vm("web", "node-1", "kvm", 0, 40)
	moved := vm("web", "node-2", "kvm", 20, 40)
	other := web.in("shop", "other-pod")
	elsewhere := web.in("other", web.pod)
	kvm, mshv := "devices_kubevirt_io_kvm", "devices_kubevirt_io_mshv"
	return []scenario{
		{rule: rule, kind: fires, story: "after five minutes, not before", input: bare(web), want: []moment{at(5, of("web", "node-1")), at(4)},
			describes: "The pod of VM shop/web on node node-1 requests no KVM device, so the VM most likely runs on software emulation. There, a guest's CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md)."},
		{rule: rule, kind: fires, story: "other pods, containers and namespaces have the device",
			input: append(bare(web), requests(other, "compute", kvm), requests(web, "helper", kvm), requests(elsewhere, "compute", kvm)),
			want:  []moment{at(10, of("web", "node-1"))}},
		{rule: rule, kind: silent, story: "the pod has the KVM device", input: append(bare(web), requests(web, "compute", kvm)), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "the pod has the MSHV device", input: append(bare(web), requests(web, "compute", mshv)), want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "kube-state-metrics shows only other pods, containers and namespaces",
			input: []line{listed(web), requests(other, "compute", "memory"), requests(web, "helper", "memory"), requests(elsewhere, "compute", "memory")},
			want:  []moment{at(10)}},
		{rule: rule, kind: silent, story: "a VM that does not run, or has no pod", input: []line{requests(web, "compute", "memory"),
			listed(web).with("phase", "scheduled"), listed(web).with("vmi_pod", "<none>"), listed(web).with("vmi_pod", "")}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a VM's page that claims both",
			input: []line{listed(web).with("job", VMsJob), requests(web, "compute", "memory").with("job", VMsJob)}, want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a VM's page that claims the container", input: []line{listed(web), requests(web, "compute", "memory").with("job", VMsJob)},
			want: []moment{at(10)}},
		{rule: rule, kind: silent, story: "a VM's page that claims to be KubeVirt", input: []line{listed(web).with("job", VMsJob), requests(web, "compute", "memory")},
			want: []moment{at(10)}},
		{rule: rule, kind: fires, story: "a VM's page that claims the device", input: append(bare(web), requests(web, "compute", kvm).with("job", VMsJob)),
			want: []moment{at(10, of("web", "node-1"))}},
		{rule: rule, kind: resolves, story: "when the VM stops", input: bare(vm("web", "node-1", "kvm", 0, 20)), want: []moment{at(20, of("web", "node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, bare(web)),
			want: []moment{at(22, of("web", "node-1")), at(24, of("web", "node-1"))}},
		{rule: rule, kind: migration, story: "and fires on the new node five minutes later",
			input: append(bare(vm("web", "node-1", "kvm", 0, 19)), bare(moved)...), want: []moment{at(19, of("web", "node-1")), at(20), at(25, of("web", "node-2"))}},
		{rule: rule, kind: reboot, story: "the VM starts on another node",
			input: append(bare(vm("web", "node-1", "kvm", 0, 10)), bare(moved)...), want: []moment{at(10, of("web", "node-1")), at(15), at(25, of("web", "node-2"))}},
	}
}

func nodeWithoutDeviceScenarios() []scenario {
	const rule = "NodeWithoutKVMDevice"
	const tun, kvm, mshv = "devices_kubevirt_io_tun", "devices_kubevirt_io_kvm", "devices_kubevirt_io_mshv"
	on := func(node string) labels { return labels{"node": node} }
	offers := func(node, resource string, value float64, first, last int) line {
		return metric("kube_node_status_allocatable", labels{"job": kubeState, "node": node, "resource": resource}, value, first, last)
	}
	lacking := []line{offers("node-1", tun, 1000, 0, 40), offers("node-1", kvm, 0, 0, 40)}
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: lacking, want: []moment{at(10, on("node-1")), at(9)},
			describes: "Node node-1 runs KubeVirt and offers VMs no KVM device: /dev/kvm is missing. VMs cannot start there, or run on software emulation if useEmulation is set."},
		{rule: rule, kind: fires, story: "a device that was never there, beside a node that has it",
			input: []line{offers("node-1", tun, 1, 0, 40), offers("node-2", tun, 1000, 0, 40), offers("node-2", kvm, 1000, 0, 40)}, want: []moment{at(15, on("node-1"))}},
		{rule: rule, kind: silent, story: "one device is offered", input: []line{offers("node-1", tun, 1000, 0, 40), offers("node-1", kvm, 1, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "the device of MSHV", input: []line{offers("node-1", tun, 1, 0, 40), offers("node-1", mshv, 1000, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "a node without KubeVirt", input: []line{offers("node-1", "memory", 1e9, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "virt-handler is down", input: []line{offers("node-1", tun, 0, 0, 40), offers("node-1", kvm, 0, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "a VM's page that claims a node", input: []line{offers("node-1", tun, 1000, 0, 40).with("job", VMsJob)}, want: []moment{at(15)}},
		{rule: rule, kind: fires, story: "a VM's page that claims the device", input: append([]line{offers("node-1", kvm, 1000, 0, 40).with("job", VMsJob)}, lacking...),
			want: []moment{at(15, on("node-1"))}},
		{rule: rule, kind: resolves, story: "when the device is there",
			input: []line{offers("node-1", tun, 1000, 0, 40), offers("node-1", kvm, 0, 0, 20).then(1000, 21, 40)}, want: []moment{at(20, on("node-1")), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, lacking), want: []moment{at(22, on("node-1")), at(24, on("node-1"))}},
		{rule: rule, kind: reboot, story: "after which virt-handler has not yet found the device", input: []line{
			offers("node-1", tun, 1000, 0, 10).then(0, 11, 14).then(1000, 15, 40), offers("node-1", kvm, 1000, 0, 10).then(0, 11, 17).then(1000, 18, 40)},
			want: []moment{at(17), at(30)}},
	}
}

func emulationEnabledScenarios() []scenario {
	const rule = "KubeVirtSoftwareEmulationEnabled"
	enabled := func(value float64, first, last int) line {
		return metric("kubevirt_configuration_emulation_enabled", labels{"job": "kubevirt", "pod": "virt-operator-1"}, value, first, last)
	}
	return []scenario{
		{rule: rule, kind: fires, story: "after ten minutes, not before", input: []line{enabled(1, 0, 40)}, want: []moment{at(10, labels{}), at(9)},
			describes: "KubeVirt's setting useEmulation is on: VMs that start request no KVM device and run on software emulation, on nodes with KVM, too."},
		{rule: rule, kind: fires, story: "of two operators one leads", input: []line{enabled(1, 0, 40), enabled(0, 0, 40).with("pod", "virt-operator-2")},
			want: []moment{at(15, labels{})}},
		{rule: rule, kind: silent, story: "it is off", input: []line{enabled(0, 0, 40)}, want: []moment{at(15)}},
		{rule: rule, kind: silent, story: "a VM's page that claims it", input: []line{enabled(1, 0, 40).with("job", VMsJob)}, want: []moment{at(15)}},
		{rule: rule, kind: resolves, story: "when it is off", input: []line{enabled(1, 0, 20).then(0, 21, 40)}, want: []moment{at(20, labels{}), at(21)}},
		{rule: rule, kind: restart, story: "of four minutes", input: awayBetween(20, 24, []line{enabled(1, 0, 40)}), want: []moment{at(22, labels{}), at(24, labels{})}},
		{rule: rule, kind: reboot, story: "of the operator's node: another leads",
			input: []line{enabled(1, 0, 20), enabled(0, 0, 20).then(1, 21, 40).with("pod", "virt-operator-2")}, want: []moment{at(20, labels{}), at(21, labels{}), at(30, labels{})}},
	}
}
