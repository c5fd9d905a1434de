package checks

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// When the relay is killed, the kubelet restarts it, and each VM of the node misses no more scrapes than fall into the time
// that this takes. A relay that is frozen is reported.
func TestRelayKilled(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "relay-killed"}
	f.start(v)
	f.awaitTarget(v, "up")
	requireUntouched := f.observe(v)
	f.awaitSeries("kubevirt_node_virtualization_info{job=%q,node=%q,virtualization=~%q}",
		"hypervisor-exporter-relay/hypervisor-exporter-relay", f.node.Name, "none|kvm|hyperv|vmware|xen|other|unknown")
	before := status(f.relayOn(f.node.Name), "relay").RestartCount
	killed := time.Now()
	f.signalRelay("KILL")
	f.until("the relay to run again", func() bool {
		now := status(f.relayOn(f.node.Name), "relay")
		return now.RestartCount > before && now.Ready
	}, nil)
	away := time.Since(killed)
	var up []bool
	f.until("two scrapes that come through", func() bool {
		up = f.scrapes(v, time.Since(killed))
		return count(up, true) >= 2 && up[len(up)-1]
	}, nil)
	t.Logf("the kubelet says that the relay is ready %.1f s after it was killed; scrapes since: up %v", away.Seconds(), up)
	require.LessOrEqual(t, count(up, false), 1+int(away/scrapeInterval), "scrapes missed")

	node := map[string]string{"node": f.node.Name}
	f.signalRelay("STOP") // for less than the kubelet takes to restart it
	f.awaitAlert("HypervisorExporterRelayDown", node)
	f.signalRelay("CONT")
	f.awaitResolved("HypervisorExporterRelayDown", node)
	requireUntouched()
}

func (f *framework) signalRelay(signal string) {
	f.kill(signal, f.containerPID(f.relayOn(f.node.Name), "relay"))
}

// relayOn returns the relay's pod on a node.
func (f *framework) relayOn(node string) *corev1.Pod {
	var found corev1.Pod
	f.until("a relay on "+node, func() bool {
		pods := f.pods(cluster.Relay, "app.kubernetes.io/component=relay")
		i := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return pod.DeletionTimestamp == nil && pod.Spec.NodeName == node })
		if i >= 0 {
			found = pods[i]
		}
		return i >= 0
	}, nil)
	return &found
}

// page is the address of a VM's page at the relay of its node.
func page(pod *corev1.Pod) string { return pageAt(pod.Status.HostIP, pod) }

// pageAt is the same at one of the node's addresses.
func pageAt(address string, pod *corev1.Pod) string {
	return "https://" + net.JoinHostPort(address, "9478") + "/pods/" + string(pod.UID) + "/metrics"
}

// relayClient verifies relays as Prometheus does: by the CA in the Secret, and the one name.
func (f *framework) relayClient() *http.Client {
	secret, err := f.CoreV1().Secrets(cluster.Relay).Get(f.ctx, "hypervisor-exporter-relay-tls", metav1.GetOptions{})
	f.must(err)
	roots := x509.NewCertPool()
	require.True(f.t, roots.AppendCertsFromPEM(secret.Data["ca.crt"]))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hypervisor-exporter-relay.hypervisor-exporter-relay.svc"}}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// prometheusToken is what Prometheus shows relays.
func (f *framework) prometheusToken() string {
	secret, err := f.CoreV1().Secrets(cluster.Relay).Get(f.ctx, "hypervisor-exporter-scraper", metav1.GetOptions{})
	f.must(err)
	return string(secret.Data["token"])
}

// get requests a page with a token, or with none, and returns status and body.
func get(t *testing.T, client *http.Client, url, token string) (int, string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }() // was only read
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}
