package checks

import "github.com/stretchr/testify/require"

// Where nothing of ours is installed, the metrics of KubeVirt and kube-state-metrics show that KubeVirt allows emulation, and
// which VM's pod has no KVM device: that of the emulated VM, not that of the one that started before. The node has KVM.
func checkWithoutExporter(f *framework) {
	groups := f.ruleGroups(withoutExporter)
	f.applyRules("e2e-without-exporter", groups)
	f.applyRules("e2e-without-exporter-short", shortened(groups))
	slow := vm{namespace: plain, name: "without-device"}
	f.start(slow)
	alerts := map[string]map[string]string{
		"VirtualMachineWithoutKVMDevice":   vmLabels(slow, f.pod(slow), ""),
		"KubeVirtSoftwareEmulationEnabled": {},
	}
	for name, labels := range alerts {
		f.awaitAlert(name, labels)
	}
	f.requireNoAlert("VirtualMachineWithoutKVMDevice", vmLabels(stays, f.pod(stays), ""))
	node := f.pod(stays).Spec.NodeName
	f.awaitSeries(`kube_pod_container_resource_requests{resource="devices_kubevirt_io_kvm",namespace=%q,pod=%q}`, stays.namespace, f.pod(stays).Name)
	f.awaitSeries(`kube_node_status_allocatable{resource="devices_kubevirt_io_kvm",node=%q} > 0`, node)
	f.awaitSeries(`kube_node_status_allocatable{resource="devices_kubevirt_io_tun",node=%q} > 0`, node)
	require.Empty(f.t, f.query(`ALERTS{alertname="NodeWithoutKVMDevice"}`))
	f.removeNow(slow)
	f.awaitResolved("VirtualMachineWithoutKVMDevice", alerts["VirtualMachineWithoutKVMDevice"])
}
