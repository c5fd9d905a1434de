package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// sidecarPage is what the sidecar's page holds without a libvirt.
const sidecarPage = "hypervisor_exporter_identity_valid 1"

// TestScrape: two pods, each with the real sidecar, through their lives.
func TestScrape(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet})
	one, other := addPod(t, kubelet), addPod(t, kubelet)
	relay.await(t, one.UID, http.StatusNotFound)
	first := startSidecar(t, one)
	startSidecar(t, other)
	require.Contains(t, relay.await(t, one.UID, http.StatusOK), sidecarPage)
	require.Contains(t, relay.await(t, other.UID, http.StatusOK), sidecarPage)

	for _, c := range []struct{ accept, contains string }{
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", "# EOF"},
		{"text/plain;version=1.0.0;escaping=allow-utf-8", sidecarPage},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3", sidecarPage},
	} {
		code, page, err := relay.get(podPath(one.UID), "Accept", c.accept)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, page)
		require.Contains(t, page, c.contains)
	}

	first.Kill() // as it crashes, its socket stays
	require.NoError(t, expect(relay, http.StatusServiceUnavailable, podPath(one.UID)), "at once")
	startSidecar(t, one)
	relay.await(t, one.UID, http.StatusOK)
	require.NoError(t, os.RemoveAll(one.Root))
	require.NoError(t, expect(relay, http.StatusNotFound, podPath(one.UID)), "at once, though its sidecar still runs")
	relay.await(t, other.UID, http.StatusOK)
	require.Equal(t, 1, strings.Count(relay.text(), "scrapes of the pod fail"), "once per change:\n%s", relay.text())

	code, page, err := relay.get("/metrics")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	for _, series := range []string{
		`hypervisor_exporter_relay_scrapes_total{result="refused"}`, `hypervisor_exporter_relay_requests_total{code="404",handler="pods"}`,
		"hypervisor_exporter_relay_scrape_duration_seconds_count", "hypervisor_exporter_relay_scrapes_in_flight 0", "hypervisor_exporter_relay_build_info{",
		"process_resident_memory_bytes",
	} {
		require.Contains(t, page, series)
	}
}

// TestAttacks plants what a tenant may plant, as seen from outside.
func TestAttacks(t *testing.T) {
	kubelet := newKubelet(t)
	attackAll(t, kubelet, startRelay(t, setup{kubelet: kubelet}))
}

func attackAll(t *testing.T, kubelet podtest.Kubelet, relay *relay) {
	t.Helper()
	victim := addPod(t, kubelet)
	startSidecar(t, victim)
	relay.await(t, victim.UID, http.StatusOK)
	for name, plant := range map[string]func(pod podtest.Pod) error{
		"link":           func(p podtest.Pod) error { return os.Symlink(victim.Socket(), p.Socket()) },
		"link to volume": func(p podtest.Pod) error { return replace(p.Volume, victim.Volume) },
		"FIFO":           func(p podtest.Pod) error { return unix.Mkfifo(p.Socket(), 0o666) },
		"regular file":   func(p podtest.Pod) error { return os.WriteFile(p.Socket(), []byte(sidecarPage), 0o666) },
		"directory":      func(p podtest.Pod) error { return os.Mkdir(p.Socket(), 0o777) },
		"second name": func(p podtest.Pod) error {
			// Of a socket that no test scrapes: with two names it is refused, too.
			spare := addPod(t, kubelet)
			startSidecar(t, spare)
			relay.await(t, spare.UID, http.StatusOK)
			return os.Link(spare.Socket(), p.Socket())
		},
	} {
		pod := addPod(t, kubelet)
		require.NoError(t, plant(pod), name)
		code, text, err := relay.get(podPath(pod.UID))
		require.NoError(t, err)
		require.Equal(t, http.StatusBadGateway, code, "%s: %s", name, text)
		require.NotContains(t, text, sidecarPage, name)
	}
	relay.await(t, victim.UID, http.StatusOK)
}

func replace(folder, target string) error {
	if err := os.Remove(folder); err != nil {
		return err
	}
	return os.Symlink(target, folder)
}

// TestOnlyGET: nothing but GET, and no path but the few.
func TestOnlyGET(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet})
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	relay.await(t, pod.UID, http.StatusOK)
	for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PROPFIND"} {
		request, err := http.NewRequest(method, "http://"+relay.address+podPath(pod.UID), nil)
		require.NoError(t, err)
		response, err := relay.client.Do(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, method)
	}
	for _, path := range []string{
		"/", "/pods", "/pods/", "/pods/x/metrics", "/pods/../etc/passwd", "/pods//" + string(pod.UID) + "/metrics",
		"/pods/" + strings.ToUpper(string(pod.UID)) + "/metrics", "/pods/%2e%2e/metrics", "/debug/pprof/",
		fmt.Sprintf("/pods/%s/", pod.UID), fmt.Sprintf("/pods/%s/healthz", pod.UID),
	} {
		code, _, err := relay.get(path)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, code, path)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		code, text, err := relay.get(path)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, text)
	}
}
