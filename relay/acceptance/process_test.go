package acceptance

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// setup of a relay.
type setup struct {
	kubelet podtest.Kubelet
	args    []string
	// api answers for the API server; nil is --authorization=none.
	api *reviewer.Reviewer
	// wrap is put before the relay's command.
	wrap []string
	// network is the one that the relay runs in, instead of the test's.
	network *netns
	// everywhere listens on all addresses, as by default, instead of one.
	everywhere bool
	// etcHosts is a file that is mounted at /etc/hosts, as the kubelet does.
	etcHosts string
	// tmpfs is how another pod's tmpfs is mounted below the kubelet's folder: "ro", "rw" or not at all.
	tmpfs string
}

// relay is a running process of the binary under test.
type relay struct {
	*testkit.Process
	address string
	client  *http.Client
	scheme  string
}

func newKubelet(t *testing.T) podtest.Kubelet {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pods")
	require.NoError(t, os.Mkdir(dir, 0o750))
	return podtest.Kubelet{Dir: dir}
}

// addPod adds a pod without a socket.
func addPod(t *testing.T, kubelet podtest.Kubelet) podtest.Pod {
	t.Helper()
	pod, err := kubelet.AddPod()
	require.NoError(t, err)
	return pod
}

// sidecarPage is in the sidecar's page when there is no libvirt.
const sidecarPage = "hypervisor_exporter_libvirt_up 0"

// servePage answers on the listener with a page, until the test ends.
func servePage(t *testing.T, listener net.Listener, page string) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

// addServingPod adds a pod whose socket answers with sidecarPage.
func addServingPod(t *testing.T, kubelet podtest.Kubelet) podtest.Pod {
	t.Helper()
	pod := addPod(t, kubelet)
	listener, err := pod.Listen()
	require.NoError(t, err)
	servePage(t, listener, sidecarPage+"\n")
	return pod
}

// relayScript is the container: the kubelet's folder read-only, uid 0 without a capability.
const relayScript = `set -eu
mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
if [ -n "$2" ]; then mount --bind "$2" /etc/hosts; fi
if [ -n "$3" ]; then mount -t tmpfs -o "$3" tmpfs "$1/volume"; fi
shift 3
exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"`

// startRelay starts a relay and waits until it serves. When the test ends, the relay must
// end with 0.
func startRelay(t *testing.T, s setup) *relay {
	t.Helper()
	r := &relay{address: testkit.FreeAddress(t), scheme: "http", client: newClient(t, nil)}
	listen := r.address
	if s.everywhere {
		listen = listen[strings.LastIndex(listen, ":"):]
	}
	if s.tmpfs != "" {
		require.NoError(t, os.Mkdir(filepath.Join(s.kubelet.Dir, "volume"), 0o750))
	}
	command := []string{"unshare", "--mount", "sh", "-c", relayScript, "sh", s.kubelet.Dir, s.etcHosts, s.tmpfs}
	command = append(append(command, s.wrap...), binary("relay"), "--kubelet-pods-dir="+s.kubelet.Dir, "--listen-address="+listen)
	if s.api == nil {
		command = append(command, "--authorization=none")
	}
	command = append(command, s.args...)
	var err error
	if s.api != nil {
		command, err = s.api.Mounted(command...)
		require.NoError(t, err)
	}
	if s.network != nil {
		command = append(s.network.enter(), command...)
	}
	r.Process, err = testkit.Start(filepath.Join(t.TempDir(), "relay.log"), exec.Command(command[0], command[1:]...))
	require.NoError(t, err)
	t.Cleanup(func() { r.end(t) })
	r.AwaitLog(t, `"msg":"serving"`)
	return r
}

func (r *relay) end(t *testing.T) {
	if err := r.Terminate(testkit.Patience); err != nil {
		t.Errorf("the relay did not end well: %v", err)
	}
	if log := r.Log(); t.Failed() || strings.Contains(log, "panic:") {
		t.Errorf("log of the relay:\n%s", log)
	}
}

// get asks for a path.
func (r *relay) get(path string, header ...string) (int, string, error) {
	request, err := http.NewRequest(http.MethodGet, r.scheme+"://"+r.address+path, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// expect returns the answer's text, or an error if it has another code.
func (r *relay) expect(code int, path string, header ...string) (string, error) {
	got, text, err := r.get(path, header...)
	if err == nil && got != code {
		err = fmt.Errorf("%s: status %d, want %d: %s", path, got, code, text)
	}
	return text, err
}

// want fails unless the answer has the code, and returns its text.
func (r *relay) want(t *testing.T, code int, path string, header ...string) string {
	t.Helper()
	text, err := r.expect(code, path, header...)
	require.NoError(t, err)
	return text
}

// await asks until the answer has the code, and returns its text.
func (r *relay) await(t *testing.T, code int, path string, header ...string) (text string) {
	t.Helper()
	testkit.Eventually(t, func() (err error) {
		text, err = r.expect(code, path, header...)
		return err
	})
	return text
}

func podPath(uid podsocket.UID) string { return "/pods/" + string(uid) + "/metrics" }

func newClient(t *testing.T, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testkit.Patience}
}
