package checks

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// Whatever the VM's network, Prometheus scrapes it through the relay of its node: one target, up, and one series with
// the labels that say who the VM is. Networks beside the pod's need Multus, which this cluster has not; to the pod, a VM
// with such networks alone is one without the pod network.
func TestBindings(t *testing.T) {
	t.Parallel()
	for name, network := range map[string]string{"masquerade-port": masqueradePort, "masquerade-all": masqueradeAll, "bridge": bridge, "none": none} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := connect(t)
			v := vm{namespace: labelled, name: "net-" + name, network: network}
			byHand := network == bridge && !w.hasDummyDevices(t)
			if byHand {
				t.Log("this kernel has no dummy devices, without which KubeVirt cannot do bridge: a pod without address, by hand")
				v.network = none
			}
			w.start(t, v)
			running := time.Now()
			if byHand {
				w.takeAddress(t, v)
			}
			found := w.awaitInfo(t, v)
			if !byHand {
				t.Logf("series %.1f s after phase Running", time.Since(running).Seconds())
			}
			pod := w.pod(t, v)
			relay := net.JoinHostPort(pod.Status.HostIP, "9478")
			labels := map[string]string{
				"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName, "pod": pod.Name,
				"container": sidecar, "endpoint": "hv-metrics", "job": "hypervisor-exporter/hypervisor-exporter-vms", "instance": relay,
			}
			target := w.awaitTarget(t, v, "up")
			require.Equal(t, fmt.Sprintf("https://%s/pods/%s/metrics", relay, pod.UID), target.ScrapeURL)
			require.Equal(t, labels, target.Labels)
			labels["__name__"], labels["hypervisor_type"] = "kubevirt_vmi_hypervisor_info", "kvm"
			require.Equal(t, labels, found.Metric)
			require.Equal(t, "1", found.Value[1])
			require.Equal(t, cluster.Product+"/hypervisor-exporter-vms", found.Metric["job"], "rules written for either exposure fit")
			w.requireNoListener(t, pod)
		})
	}
}

// hasDummyDevices says whether the kernel has what KubeVirt's binding bridge puts in the place of the pod's device.
func (w *world) hasDummyDevices(t *testing.T) bool {
	t.Helper()
	_, err := w.node.Run(t.Context(), "unshare", "-n", "ip", "link", "add", "probe", "type", "dummy")
	return err == nil
}

// takeAddress does to the VM's pod what the binding bridge does: its device has no address any more. Prometheus has to
// scrape it after that, too.
func (w *world) takeAddress(t *testing.T, v vm) {
	t.Helper()
	w.awaitTarget(t, v, "up")
	pid, err := w.containerPID(t.Context(), w.pod(t, v), "compute")
	require.NoError(t, err)
	_, err = w.node.Run(t.Context(), "nsenter", "-t", pid, "-n", "ip", "address", "flush", "dev", "eth0")
	require.NoError(t, err)
	w.requireThroughout(t, v, "kvm", 3*scrapeInterval)
}

// requireNoListener fails where a port of ours is open in the pod's network.
func (w *world) requireNoListener(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	pid, err := w.containerPID(t.Context(), pod, "compute")
	require.NoError(t, err)
	listening, err := w.node.Run(t.Context(), "nsenter", "-t", pid, "-n", "ss", "-Hltun")
	require.NoError(t, err)
	require.NotRegexp(t, `:(9477|9478)\s`, listening, "listeners in the pod's network")
}
