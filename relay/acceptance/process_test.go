package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// patience bounds every wait for something that is bound to happen.
const patience = 30 * time.Second

// setup of a relay.
type setup struct {
	kubelet podtest.Kubelet
	args    []string
	// account is a folder as the service account's; "" is none, and
	// --authorization=none.
	account string
	// wrap is put before the relay's command.
	wrap []string
	// network is the one that the relay runs in, instead of the test's.
	network *netns
	// api is the API server's host and port; "" is the one that all tests share.
	api string
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
	log     string
	client  *http.Client
	scheme  string
}

func newKubelet(t *testing.T) podtest.Kubelet {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pods")
	require.NoError(t, os.Mkdir(dir, 0o750))
	return podtest.Kubelet{Dir: dir}
}

func addPod(t *testing.T, kubelet podtest.Kubelet) podtest.Pod {
	t.Helper()
	pod, err := kubelet.AddPod()
	require.NoError(t, err)
	return pod
}

// relayScript is the container: the kubelet's folder read-only, a service account
// in its place, uid 0 without a capability.
const relayScript = `set -eu
mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
if [ -n "$2" ]; then
  mount -t tmpfs tmpfs /run; mkdir -p /run/secrets/kubernetes.io/serviceaccount
  mount --bind "$2" /run/secrets/kubernetes.io/serviceaccount
fi
if [ -n "$3" ]; then mount --bind "$3" /etc/hosts; fi
if [ -n "$4" ]; then mount -t tmpfs -o "$4" tmpfs "$1/volume"; fi
shift 4
exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"`

// startRelay starts a relay. When the test ends, so does the relay, which must then
// exit with 0.
func startRelay(t *testing.T, s setup) *relay {
	t.Helper()
	r := launch(t, s)
	t.Cleanup(func() { r.tearDown(t) })
	r.awaitLog(t, `"msg":"serving"`)
	return r
}

// startRelayToEnd starts a relay whose end is the test's business.
func startRelayToEnd(t *testing.T, kubelet podtest.Kubelet) *relay {
	t.Helper()
	r := launch(t, setup{kubelet: kubelet})
	t.Cleanup(r.Kill)
	r.awaitLog(t, `"msg":"serving"`)
	return r
}

func launch(t *testing.T, s setup) *relay {
	t.Helper()
	r := &relay{address: freeAddress(t), log: filepath.Join(t.TempDir(), "relay.log"), scheme: "http", client: newClient(t, nil)}
	listen := r.address
	if s.everywhere {
		_, port, err := net.SplitHostPort(r.address)
		require.NoError(t, err)
		listen = ":" + port
	}
	args := []string{"--kubelet-pods-dir=" + s.kubelet.Dir, "--listen-address=" + listen}
	if s.account == "" {
		args = append(args, "--authorization=none")
	}
	if s.tmpfs != "" {
		require.NoError(t, os.Mkdir(filepath.Join(s.kubelet.Dir, "volume"), 0o750))
	}
	command := []string{"--mount", "sh", "-c", relayScript, "sh", s.kubelet.Dir, s.account, s.etcHosts, s.tmpfs}
	command = append(append(append(command, s.wrap...), relayBinary), append(args, s.args...)...)
	command = append([]string{"unshare"}, command...)
	if s.network != nil {
		command = append(s.network.enter(), command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	if s.api == "" {
		s.api = strings.TrimPrefix(apiServer.Config.Host, "https://")
	}
	host, port, err := net.SplitHostPort(s.api)
	require.NoError(t, err)
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST="+host, "KUBERNETES_SERVICE_PORT="+port)
	r.Process, err = testkit.Start(r.log, cmd)
	require.NoError(t, err)
	return r
}

func (r *relay) tearDown(t *testing.T) {
	select {
	case <-r.Ended():
		t.Errorf("the relay has ended by itself")
	default:
		if err := r.Terminate(patience); err != nil {
			t.Errorf("the relay did not end well: %v", err)
		}
	}
	if log := r.text(); t.Failed() || strings.Contains(log, "panic:") {
		t.Errorf("log of the relay:\n%s", log)
	}
}

func (r *relay) text() string {
	content, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func (r *relay) awaitLog(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(r.text(), text) {
			return fmt.Errorf("the log does not say %q: %s", text, r.text())
		}
		return nil
	})
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

func podPath(uid podsocket.UID) string { return "/pods/" + string(uid) + "/metrics" }

// await scrapes the pod until the answer has the code, and gives its text.
func (r *relay) await(t *testing.T, uid podsocket.UID, code int) string {
	t.Helper()
	var text string
	eventually(t, func() error {
		got, content, err := r.get(podPath(uid))
		if err != nil {
			return err
		}
		if got != code {
			return fmt.Errorf("status %d, want %d: %s", got, code, content)
		}
		text = content
		return nil
	})
	return text
}

func newClient(t *testing.T, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			require.NoError(t, errors.Join(err, ctx.Err()))
		}
	}
}
