package checks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// A policy that lets nothing in or out of a VM's namespace does not keep scrapes out. The CNI of this cluster enforces no
// policy, so what the strictest would do is done by hand, too: the pod's network is cut off from the node.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: "denied", name: "denied"}
	f.namespace(v.namespace)
	f.apply(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: default-deny, namespace: %s},
		spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`, v.namespace)
	f.start(v)
	f.awaitTarget(v, "up")
	pod := f.pod(v)
	t.Logf("with the policy, Prometheus' pod reaches the VM's pod: %v", f.packetsPass(pod))
	f.cutOff(pod)
	require.False(t, f.packetsPass(pod), "no packet reaches the pod that was cut off")
	f.requireThroughout(v, "kvm")
	f.must(f.isIn(v, "Running"))
}

// packetsPass reports whether a packet from Prometheus' pod reaches the VM's: a closed port then refuses.
func (f *framework) packetsPass(pod *corev1.Pod) bool {
	prometheus, err := f.CoreV1().Pods(cluster.Monitoring).Get(f.ctx, "prometheus-e2e-0", metav1.GetOptions{})
	f.must(err)
	output, err := f.node.Run(f.ctx, "nsenter", "-t", f.containerPID(prometheus, "prometheus"), "-n",
		"nc", "-z", "-v", "-n", "-w", "5", pod.Status.PodIP, "4711")
	require.Error(f.t, err, "nothing listens there")
	return strings.Contains(output, "refused")
}

// cutOff takes down the node's end of the pod's network, for good: it goes with the pod.
func (f *framework) cutOff(pod *corev1.Pod) {
	peer := strings.TrimSpace(f.exec(pod, "compute", "cat", "/sys/class/net/eth0/iflink"))
	for line := range strings.Lines(f.run("ip", "-o", "link", "show")) { // 23: veth1a2b3c4d@if2: …
		if number, rest, _ := strings.Cut(line, ": "); number == peer {
			name, _, _ := strings.Cut(rest, "@")
			f.run("ip", "link", "set", name, "down")
			return
		}
	}
	require.Fail(f.t, "no link "+peer)
}
