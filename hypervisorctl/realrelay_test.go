package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// relayProgram builds the relay.
func relayProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "relay")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "nethttpomithttp2", "-o", program, "../relay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}

// inPod gives a command the service account's folder where every pod has it.
const inPod = `mount -t tmpfs tmpfs /run; mkdir -p /run/secrets/kubernetes.io; ln -s "$1" /run/secrets/kubernetes.io/serviceaccount; shift; exec "$@"`

// startRelay runs the relay's program as its DaemonSet does on node-9, with the rights that the manifests give it, and
// returns its kubelet's folder of pods.
func startRelay(t *testing.T) string {
	t.Helper()
	dir, account := t.TempDir(), t.TempDir()
	authority, err := pki.NewCA(product.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, product.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	for path, content := range map[string][]byte{
		filepath.Join(account, "token"):  []byte(server.Token(t, product.RelayNamespace, product.Relay)),
		filepath.Join(account, "ca.crt"): server.Config.CAData,
		filepath.Join(dir, "tls.crt"):    leaf.CertPEM,
		filepath.Join(dir, "tls.key"):    leaf.KeyPEM,
	} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	address := freeAddress(t)
	command := exec.Command("unshare", "--mount", "sh", "-ec", inPod, "sh", account, relayProgram(t), "--kubelet-pods-dir="+dir,
		"--listen-address="+address, "--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-private-key-file="+filepath.Join(dir, "tls.key"))
	host, port, err := net.SplitHostPort(strings.TrimPrefix(server.Config.Host, "https://"))
	require.NoError(t, err)
	command.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST="+host, "KUBERNETES_SERVICE_PORT="+port)
	process, err := testkit.Start(filepath.Join(t.TempDir(), "relay.log"), command)
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	require.Eventually(t, func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // whether it listens at all
		return err == nil && conn.Close() == nil
	}, 20*time.Second, 50*time.Millisecond, process.LogTail)

	serveKubelet(t, "node-9", &kubelet{forward: address})
	relayPod(t, "node-9")
	trusted(t, authority.CertPEM)
	return dir
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// listen lets a sidecar answer with a page, in the pod's volume of the kubelet's folder.
func listen(t *testing.T, pods, uid, page string) {
	t.Helper()
	volume := filepath.Join(pods, uid, "volumes/kubernetes.io~empty-dir/hypervisor-exporter")
	require.NoError(t, os.MkdirAll(volume, 0o755))
	listener, err := podtest.Listen(filepath.Join(volume, "metrics.sock"))
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, page)
	}))
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
}

// TestRealRelay: the product's own relay, which asks the real API server about the token, through a kubelet's port-forward.
func TestRealRelay(t *testing.T) {
	if os.Getuid() != 0 {
		require.Fail(t, "a mount namespace for the relay needs root (sudo -E go test ./hypervisorctl)")
	}
	install(t)
	namespace := server.Namespace(t, "really", labelled())
	pod := machine{namespace: namespace, name: "web", fixture: "masq", node: "node-9"}.create(t)
	machine{namespace: namespace, name: "gone", fixture: "masq", node: "node-9"}.create(t)
	token := scraper(t, namespace)
	listen(t, startRelay(t), string(pod.UID), page(namespace, "web", "kvm"))
	got := call(t, kubeconfig(t, server.Config, token), "list", "-n", namespace, "-o", "yaml")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "source: relay\n  type: kvm")
	require.Contains(t, got.out, "it answered 404")
}
