package acceptance

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// sidecarScript is the sidecar's container: the volume under a short path, and
// KubeVirt's uid of virt-launcher.
const sidecarScript = `set -eu
mount -t tmpfs tmpfs /run; mkdir /run/hypervisor-exporter; mount --bind "$1" /run/hypervisor-exporter
shift
exec setpriv --reuid=107 --regid=107 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"`

// startSidecar starts the real sidecar in the pod.
func startSidecar(t *testing.T, pod podtest.Pod) *testkit.Process {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "sh", "-c", sidecarScript, "sh", pod.Volume, binary("sidecar"),
		"--listen-address=unix:///run/hypervisor-exporter/metrics.sock", "--libvirt-socket=/nowhere")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "VMI_NAMESPACE=shop", "VMI_NAME=web", "NODE_NAME=node-1"}
	process, err := testkit.Start(filepath.Join(t.TempDir(), "sidecar.log"), cmd)
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	return process
}

// TestScrape: two pods, one with the real sidecar, through their lives. The relay listens on either family of addresses.
func TestScrape(t *testing.T) {
	t.Parallel()
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet, everywhere: true})
	pod, other := addPod(t, kubelet), addServingPod(t, kubelet)
	path := podPath(pod.UID)
	relay.want(t, http.StatusNotFound, path)
	sidecar := startSidecar(t, pod)
	require.Contains(t, relay.await(t, http.StatusOK, path), sidecarPage)
	relay.want(t, http.StatusOK, podPath(other.UID))

	for accept, contains := range map[string]string{
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": "# EOF",
		"text/plain;version=1.0.0;escaping=allow-utf-8": sidecarPage,
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3": sidecarPage,
	} {
		require.Contains(t, relay.want(t, http.StatusOK, path, "Accept", accept), contains)
	}

	sidecar.Kill() // as it crashes, its socket stays
	relay.want(t, http.StatusServiceUnavailable, path)
	startSidecar(t, pod)
	relay.await(t, http.StatusOK, path)
	require.NoError(t, os.RemoveAll(pod.Root))
	relay.want(t, http.StatusNotFound, path) // at once, though its sidecar still runs
	relay.want(t, http.StatusOK, podPath(other.UID))
	require.Equal(t, 1, strings.Count(relay.Log(), "scrapes of the pod fail"), "once per change:\n%s", relay.Log())

	_, port, err := net.SplitHostPort(relay.address)
	require.NoError(t, err)
	relay.address = net.JoinHostPort("::1", port)
	page := relay.want(t, http.StatusOK, "/metrics")
	for _, series := range []string{
		`hypervisor_exporter_relay_scrapes_total{result="refused"}`, `hypervisor_exporter_relay_requests_total{code="404",handler="pods"}`,
		"hypervisor_exporter_relay_scrape_duration_seconds_count", "hypervisor_exporter_relay_scrapes_in_flight 0", "hypervisor_exporter_relay_build_info{",
		"process_resident_memory_bytes", "kubevirt_node_virtualization_info{",
	} {
		require.Contains(t, page, series)
	}
}

// TestGracefulEnd: on SIGTERM the port closes, and a scrape under way ends as it would have.
func TestGracefulEnd(t *testing.T) {
	t.Parallel()
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet})
	pod := addPod(t, kubelet)
	listener, err := pod.Listen()
	require.NoError(t, err)
	defer listener.Close()
	scraped := make(chan error, 1)
	go func() {
		_, err := relay.expect(http.StatusOK, podPath(pod.UID))
		scraped <- err
	}()
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, relay.Signal(syscall.SIGTERM))
	testkit.Eventually(t, func() error {
		conn, err := net.Dial("tcp", relay.address)
		if err != nil {
			return nil
		}
		return errors.Join(errors.New("the port is still open"), conn.Close())
	})
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n")
	require.NoError(t, err)
	require.NoError(t, <-scraped)
}
