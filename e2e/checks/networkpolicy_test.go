package checks

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// A policy that lets nothing in or out of a VM's namespace does not keep scrapes out. The CNI of this cluster enforces
// no policy, so what the strictest would do is done by hand, too: the pod's network is cut off from the node.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	w := connect(t)
	const denied = "denied"
	require.NoError(t, w.Namespace(t.Context(), denied, map[string]string{inject: "enabled"}))
	_, err := w.NetworkingV1().NetworkPolicies(denied).Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "default-deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	v := vm{namespace: denied, name: "denied"}
	w.start(t, v)
	w.awaitTarget(t, v, "up")
	pod := w.pod(t, v)
	t.Logf("with the policy, Prometheus' pod gets to the VM's pod: %v", w.packetsPass(t, pod))
	w.cutOff(t, pod)
	require.False(t, w.packetsPass(t, pod), "no packet reaches the pod that was cut off")
	w.requireThroughout(t, v, "kvm", 3*scrapeInterval+time.Second)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
}

// packetsPass says whether a packet from Prometheus' pod reaches the VM's: a closed port then refuses.
func (w *world) packetsPass(t *testing.T, pod *corev1.Pod) bool {
	t.Helper()
	prometheus, err := w.CoreV1().Pods(cluster.Monitoring).Get(t.Context(), "prometheus-e2e-0", metav1.GetOptions{})
	require.NoError(t, err)
	pid, err := w.containerPID(t.Context(), prometheus, "prometheus")
	require.NoError(t, err)
	output, err := w.node.Run(t.Context(), "nsenter", "-t", pid, "-n", "nc", "-z", "-v", "-n", "-w", "2", pod.Status.PodIP, "4711")
	require.Error(t, err, "nothing listens there")
	return strings.Contains(output, "refused")
}

// cutOff takes down the node's end of the pod's network, for good: it goes with the pod.
func (w *world) cutOff(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	peer, err := w.exec(t.Context(), pod, "compute", "cat", "/sys/class/net/eth0/iflink")
	require.NoError(t, err)
	links, err := w.node.Run(t.Context(), "ip", "-o", "link", "show")
	require.NoError(t, err)
	for line := range strings.Lines(links) { // 23: veth1a2b3c4d@if2: …
		if number, rest, _ := strings.Cut(line, ": "); number == strings.TrimSpace(peer) {
			name, _, _ := strings.Cut(rest, "@")
			_, err := w.node.Run(t.Context(), "ip", "link", "set", name, "down")
			require.NoError(t, err)
			return
		}
	}
	require.NoError(t, errors.New("no link "+peer))
}
