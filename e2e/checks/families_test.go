package checks

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// In a cluster with IPv6 first and IPv4 too, the API server calls the webhook, and Prometheus scrapes a VM, over IPv6; at
// the node's IPv4 address the relay is the same, with the same certificate. All other checks run over IPv6 there.
func TestFamilies(t *testing.T) {
	t.Parallel()
	w := connect(t)
	require.NoError(t, w.node.Recall())
	if w.node.IP == "" {
		t.Skip("this cluster has IPv4 alone: E2E_IP=dual make e2e-up")
	}
	v := vm{namespace: labelled, name: "families"}
	w.start(t, v)
	pod := w.pod(t, v)
	require.True(t, hasSidecar(pod))
	service, err := w.CoreV1().Services(cluster.Product).Get(t.Context(), "hypervisor-exporter-webhook", metav1.GetOptions{})
	require.NoError(t, err)
	for what, address := range map[string]string{"webhook's Service": service.Spec.ClusterIP, "pod": pod.Status.PodIP, "node": pod.Status.HostIP} {
		require.True(t, netip.MustParseAddr(address).Is6(), "address %s of the %s", address, what)
	}
	target := w.awaitTarget(t, v, "up")
	require.Equal(t, "https://["+pod.Status.HostIP+"]:9478/pods/"+string(pod.UID)+"/metrics", target.ScrapeURL)
	require.Equal(t, "kvm", w.awaitInfo(t, v).Metric["hypervisor_type"])

	client, token := w.relayClient(t), w.prometheusToken(t)
	require.Len(t, pod.Status.HostIPs, 2)
	for _, host := range pod.Status.HostIPs {
		status, body := ask(t, client, pageAt(host.IP, pod), token)
		require.Equal(t, http.StatusOK, status, "at %s: %s", host.IP, body)
		require.Contains(t, body, `hypervisor_type="kvm"`)
		status, _ = ask(t, client, pageAt(host.IP, pod), "")
		require.Equal(t, http.StatusUnauthorized, status, "at %s without a token", host.IP)
	}
}
