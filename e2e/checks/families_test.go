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
	f := connect(t)
	if f.node.IP == "" {
		t.Skip("this cluster has IPv4 only: E2E_IP=dual make e2e-up")
	}
	v := vm{namespace: labelled, name: "families"}
	f.start(v)
	f.requireMeasured(v, "kvm")
	pod := f.pod(v)
	service, err := f.CoreV1().Services(cluster.Product).Get(f.ctx, webhook, metav1.GetOptions{})
	require.NoError(t, err)
	for what, address := range map[string]string{"webhook's Service": service.Spec.ClusterIP, "pod": pod.Status.PodIP, "node": pod.Status.HostIP} {
		require.True(t, netip.MustParseAddr(address).Is6(), "address %s of the %s", address, what)
	}
	require.Equal(t, "https://["+pod.Status.HostIP+"]:9478/pods/"+string(pod.UID)+"/metrics", f.awaitTarget(v, "up").ScrapeURL)

	client, token := f.relayClient(), f.prometheusToken()
	require.Len(t, pod.Status.HostIPs, 2)
	for _, host := range pod.Status.HostIPs {
		code, body := get(t, client, pageAt(host.IP, pod), token)
		require.Equal(t, http.StatusOK, code, "at %s: %s", host.IP, body)
		require.Contains(t, body, `hypervisor_type="kvm"`)
		code, _ = get(t, client, pageAt(host.IP, pod), "")
		require.Equal(t, http.StatusUnauthorized, code, "at %s without a token", host.IP)
	}
}
