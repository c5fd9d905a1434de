package checks

import (
	"fmt"
	"maps"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// Whatever the VM's network, Prometheus scrapes it through the relay of its node: one target, up, and one series with the
// labels that name the VM. Networks beside the pod's need Multus, which this cluster does not have; for the pod, a VM with
// only such networks is one without the pod network.
func TestBindings(t *testing.T) {
	t.Parallel()
	f := connect(t)
	for name, network := range map[string]string{"masquerade-port": masqueradePort, "masquerade-all": masqueradeAll, "bridge": bridge, "none": noNetwork} {
		f.part(name, func(f *framework) {
			f.t.Parallel()
			f.checkBinding(vm{namespace: labelled, name: "net-" + name, network: network})
		})
	}
}

func (f *framework) checkBinding(v vm) {
	byHand := v.network == bridge && !f.hasDummyDevices()
	if byHand {
		f.t.Log("this kernel has no dummy devices, without which KubeVirt cannot do bridge: a pod without address, by hand")
		v.network = noNetwork
	}
	f.start(v)
	if byHand { // as the binding bridge does: Prometheus has to scrape it after that, too
		f.awaitTarget(v, "up")
		f.run("nsenter", "-t", f.containerPID(f.pod(v), "compute"), "-n", "ip", "address", "flush", "dev", "eth0")
		f.requireThroughout(v, "kvm")
	}
	found, pod := f.awaitInfo(v), f.pod(v)
	relay := net.JoinHostPort(pod.Status.HostIP, "9478")
	labels := map[string]string{ // the job is the same with either exposure, so that rules fit both
		"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName, "pod": pod.Name,
		"container": sidecar, "endpoint": "hv-metrics", "job": vmsJob, "instance": relay,
	}
	target := f.awaitTarget(v, "up")
	require.Equal(f.t, fmt.Sprintf("https://%s/pods/%s/metrics", relay, pod.UID), target.ScrapeURL)
	onTarget := maps.Clone(labels)
	onTarget["target_cluster"] = "=" // no scrape class gives the target a cluster, and so no page can
	require.Equal(f.t, onTarget, target.Labels)
	labels["__name__"], labels["hypervisor_type"] = "kubevirt_vmi_hypervisor_info", "kvm"
	require.Equal(f.t, labels, found.Metric)
	require.Equal(f.t, "1", found.Value[1])
	f.requireNoListener(pod)
}

// hasDummyDevices reports whether the kernel has what KubeVirt's binding bridge puts in the place of the pod's device.
func (f *framework) hasDummyDevices() bool {
	_, err := f.node.Run(f.ctx, "unshare", "-n", "ip", "link", "add", "probe", "type", "dummy")
	return err == nil
}

// requireNoListener fails where a port of ours is open in the pod's network.
func (f *framework) requireNoListener(pod *corev1.Pod) {
	listening := f.run("nsenter", "-t", f.containerPID(pod, "compute"), "-n", "ss", "-Hltun")
	require.NotRegexp(f.t, `:(9477|9478)\s`, listening, "listeners in the pod's network")
}
