package clustertest

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// inPod runs a command with the service account's folder where every pod has it.
const inPod = `mount -t tmpfs tmpfs /run; mkdir -p /run/secrets/kubernetes.io; ln -s "$1" /run/secrets/kubernetes.io/serviceaccount; shift; exec "$@"`

// listenFlag returns the flag of the DaemonSet that sets the port, without its value.
func listenFlag(t *testing.T) string {
	t.Helper()
	set, err := server.Client.AppsV1().DaemonSets(cluster.RelayNamespace).Get(t.Context(), cluster.Relay, metav1.GetOptions{})
	require.NoError(t, err)
	for _, argument := range set.Spec.Template.Spec.Containers[0].Args {
		if flag, ok := strings.CutSuffix(argument, ":9478"); ok {
			return flag
		}
	}
	require.Fail(t, "the relay has no flag with its port")
	return ""
}

// startRelay runs the relay's program as its DaemonSet does on node-9, with the rights that the manifests give it, and
// returns its kubelet's folder of pods.
func startRelay(t *testing.T) string {
	t.Helper()
	dir, account := t.TempDir(), t.TempDir()
	ca, err := pki.NewCA(cluster.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, cluster.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	for path, content := range map[string][]byte{
		filepath.Join(account, "token"):  []byte(server.Token(t, cluster.RelayNamespace, cluster.Relay)),
		filepath.Join(account, "ca.crt"): server.Config.CAData,
		filepath.Join(dir, "tls.crt"):    leaf.CertPEM,
		filepath.Join(dir, "tls.key"):    leaf.KeyPEM,
	} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	address := testkit.FreeAddress(t)
	require.NoError(t, testkit.Build(t.Context(), dir, "./relay"))
	command := exec.Command("unshare", "--mount", "sh", "-ec", inPod, "sh", account, filepath.Join(dir, "relay"), "--kubelet-pods-dir="+dir,
		listenFlag(t)+address, "--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-private-key-file="+filepath.Join(dir, "tls.key"))
	host, port, err := net.SplitHostPort(strings.TrimPrefix(server.Config.Host, "https://"))
	require.NoError(t, err)
	command.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST="+host, "KUBERNETES_SERVICE_PORT="+port)
	process, err := testkit.Start(filepath.Join(t.TempDir(), "relay.log"), command)
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(process.LogTail())
		}
	})
	eventually(t, func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // whether it listens at all
		return err == nil && conn.Close() == nil
	})

	serveKubelet(t, "node-9", &kubelet{forward: address})
	relayPod(t, "node-9")
	trusted(t, ca.CertPEM)
	return dir
}

// listen starts a sidecar that answers with a page, in the pod's volume of the kubelet's folder.
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

// TestRealRelay: the product's own relay, which reviews the token at the real API server, through a kubelet's port-forward.
func TestRealRelay(t *testing.T) {
	if os.Getuid() != 0 {
		require.Fail(t, "a mount namespace for the relay needs root (sudo -E go test ./hypervisorctl/clustertest)")
	}
	install(t)
	namespace := server.Namespace(t, "really", labelled())
	pod := testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-9"}.create(t)
	testVM{namespace: namespace, name: "gone", fixture: "masq", node: "node-9"}.create(t)
	token := scraper(t, namespace)
	listen(t, startRelay(t), string(pod.UID), page(namespace, "web", "kvm"))
	got := call(t, kubeconfig(t, server.Config, token), "list", "-n", namespace, "-o", "yaml")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "source: relay\n  type: kvm")
	require.Contains(t, got.out, "the relay answered 404")
	require.Regexp(t, `\n  nodeVirtualization: \w+\n`, got.out, "from the relay's own page")
}
