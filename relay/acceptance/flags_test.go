package acceptance

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// TestBounds: each flag bounds what it says.
func TestBounds(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet, args: []string{
		"--max-in-flight=2", "--max-in-flight-per-pod=1", "--max-response-bytes=100", "--timeout=20s",
	}})
	good := addPod(t, kubelet)
	startSidecar(t, good)
	require.Contains(t, relay.await(t, good.UID, http.StatusBadGateway), "--max-response-bytes", "the sidecar's page is larger, compressed or not")

	first, second := addPod(t, kubelet), addPod(t, kubelet)
	hangScrape(t, relay, first)
	require.NoError(t, expect(relay, http.StatusTooManyRequests, podPath(first.UID)), "as many as one pod may have")
	require.NoError(t, expect(relay, http.StatusBadGateway, podPath(good.UID)), "the others are answered")
	hangScrape(t, relay, second)
	require.NoError(t, expect(relay, http.StatusServiceUnavailable, podPath(good.UID)), "as many as all may have")
}

// hangScrape begins a scrape that the pod does not answer until the test ends.
func hangScrape(t *testing.T, relay *relay, pod podtest.Pod) {
	t.Helper()
	listener, err := pod.Listen()
	require.NoError(t, err)
	require.NoError(t, listener.SetDeadline(time.Now().Add(patience)))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = relay.get(podPath(pod.UID))
	}()
	conn, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		_ = listener.Close()
		<-ended
	})
}

// TestTimeout: --timeout bounds a scrape whose scraper does not say how long it waits.
func TestTimeout(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet, args: []string{"--timeout=1s"}})
	pod := addPod(t, kubelet)
	listener, err := pod.Listen() // and accepts nobody
	require.NoError(t, err)
	defer listener.Close()
	began := time.Now()
	require.NoError(t, expect(relay, http.StatusGatewayTimeout, podPath(pod.UID)))
	require.Less(t, time.Since(began), 5*time.Second, "the default is twice as long")
}

// TestBothFamilies: on a node with IPv6, the default address takes scrapes by both.
func TestBothFamilies(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet, everywhere: true})
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	_, port, err := net.SplitHostPort(relay.address)
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "::1"} {
		relay.address = net.JoinHostPort(host, port)
		require.Contains(t, relay.await(t, pod.UID, http.StatusOK), sidecarPage, host)
	}
}

// TestWebConfigFile: exporter-toolkit's file says how TLS is served.
func TestWebConfigFile(t *testing.T) {
	kubelet, secret := newKubelet(t), newSecret(t)
	secret.issue(t)
	file := filepath.Join(secret.dir, "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n"), 0o600))
	relay := startRelay(t, setup{kubelet: kubelet, args: []string{"--web.config.file=" + file}})
	relay.scheme, relay.client = "https", secret.client(t)
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	require.Contains(t, relay.await(t, pod.UID, http.StatusOK), sidecarPage)
	relay.scheme, relay.client = "http", newClient(t, nil)
	require.NoError(t, expect(relay, http.StatusBadRequest, podPath(pod.UID)), "without TLS")
}
