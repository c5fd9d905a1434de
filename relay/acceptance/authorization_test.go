package acceptance

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/contract"
)

const serverName = "hypervisor-exporter-relay.hypervisor-exporter.svc"

// account makes a service account with the ClusterRole, and gives a token of its.
func account(t *testing.T, namespace, name, role string) string {
	t.Helper()
	_, err := apiServer.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = apiServer.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return apiServer.Token(t, namespace, name)
}

// tokenFor is a token of the service account for the audience, as hypervisorctl asks for one.
func tokenFor(t *testing.T, namespace, name, audience string) string {
	t.Helper()
	request, err := apiServer.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}

func role(t *testing.T, path string) string {
	t.Helper()
	made, err := apiServer.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "relay-"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{path}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return made.Name
}

// mount is a folder as the kubelet mounts a Secret or a token: swapped whole.
type mount struct {
	dir        string
	generation int
}

func newMount(t *testing.T) *mount { return &mount{dir: t.TempDir()} }

// write puts new files in place of all.
func (m *mount) write(t *testing.T, files map[string][]byte) {
	t.Helper()
	m.generation++
	data := fmt.Sprintf("..%d", m.generation)
	require.NoError(t, os.Mkdir(filepath.Join(m.dir, data), 0o700))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(m.dir, data, name), content, 0o600))
		if m.generation == 1 {
			require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)))
		}
	}
	m.swap(t, data)
}

// swap lets ..data lead to the target.
func (m *mount) swap(t *testing.T, target string) {
	t.Helper()
	require.NoError(t, os.Symlink(target, filepath.Join(m.dir, "..tmp")))
	require.NoError(t, os.Rename(filepath.Join(m.dir, "..tmp"), filepath.Join(m.dir, "..data")))
}

// secret is a mounted Secret with a certificate, empty at first.
type secret struct {
	*mount
	authority *pki.Pair
}

func newSecret(t *testing.T) *secret {
	authority, err := pki.NewCA(serverName, time.Now(), time.Hour)
	require.NoError(t, err)
	return &secret{mount: newMount(t), authority: authority}
}

// issue puts a new pair in place and gives its serial number.
func (s *secret) issue(t *testing.T) string {
	t.Helper()
	leaf, err := pki.IssueLeaf(s.authority, serverName, time.Now(), time.Hour)
	require.NoError(t, err)
	s.write(t, map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM})
	return leaf.Certificate.SerialNumber.String()
}

// client verifies as the PodMonitor does.
func (s *secret) client(t *testing.T) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.authority.Certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: serverName}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// asKubelet verifies nothing, as a probe.
func asKubelet(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func (s *secret) flags() []string {
	return []string{"--tls-cert-file=" + filepath.Join(s.dir, "tls.crt"), "--tls-private-key-file=" + filepath.Join(s.dir, "tls.key")}
}

// serviceAccountFolder is what the kubelet mounts into the relay's pod.
func serviceAccountFolder(t *testing.T, token string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), apiServer.Config.CAData, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600))
	return dir
}

// TestByDefault is the relay as it is installed: TLS, tokens, a Secret that is
// filled later.
func TestByDefault(t *testing.T) {
	namespace := apiServer.Namespace(t, "relay", nil)
	kubelet, secret := newKubelet(t), newSecret(t)
	relay := startRelay(t, setup{
		kubelet: kubelet,
		account: serviceAccountFolder(t, account(t, namespace, "relay", "system:auth-delegator")),
		args:    secret.flags(),
	})
	relay.scheme, relay.client = "https", secret.client(t)
	pod := addPod(t, kubelet)
	startSidecar(t, pod)

	_, _, err := relay.get("/readyz")
	require.Error(t, err, "whoever verifies is not served before the Secret is filled")
	verifying := relay.client
	relay.client = asKubelet(t)
	require.NoError(t, expect(relay, http.StatusOK, "/healthz"), "the kubelet does not restart it meanwhile")
	require.NoError(t, expect(relay, http.StatusServiceUnavailable, "/readyz"))
	relay.client = verifying
	secret.issue(t)
	eventually(t, func() error { return expect(relay, http.StatusOK, "/readyz") })
	require.NoError(t, expect(relay, http.StatusOK, "/healthz"))

	scraper := "Bearer " + account(t, namespace, "prometheus", role(t, "/metrics/vmis"))
	onlyHere := "Bearer " + tokenFor(t, namespace, "prometheus", contract.RelayAudience)
	elsewhere := "Bearer " + tokenFor(t, namespace, "prometheus", "vault")
	operator := "Bearer " + account(t, namespace, "operator", role(t, "/metrics"))
	vmis, own := podPath(pod.UID), "/metrics"
	for _, c := range []struct {
		path, token string
		code        int
	}{
		{vmis, scraper, http.StatusOK},
		{own, scraper, http.StatusForbidden},
		{vmis, operator, http.StatusForbidden},
		{vmis, onlyHere, http.StatusOK},
		{own, onlyHere, http.StatusForbidden},
		{vmis, elsewhere, http.StatusUnauthorized},
		{own, operator, http.StatusOK},
		{vmis, "", http.StatusUnauthorized},
		{own, "", http.StatusUnauthorized},
		{vmis, "Bearer made-up", http.StatusUnauthorized},
		{"/pods/nonsense/metrics", "", http.StatusUnauthorized},
		{podPath("00000000-0000-4000-8000-000000000000"), "", http.StatusUnauthorized},
		{podPath("00000000-0000-4000-8000-000000000000"), scraper, http.StatusNotFound},
	} {
		eventually(t, func() error { return expect(relay, c.code, c.path, "Authorization", c.token) })
	}
	_, page, err := relay.get(own, "Authorization", operator)
	require.NoError(t, err)
	require.Contains(t, page, "hypervisor_exporter_relay_certificate_not_after_timestamp_seconds")
	require.Contains(t, page, `hypervisor_exporter_relay_authorizations_total{decision="allowed",origin="cache"}`)

	t.Run("a new certificate", func(t *testing.T) {
		serial := secret.issue(t)
		eventually(t, func() error { return relay.serves(serial) })
	})
}

// serves is nil when the relay serves the certificate of that serial number.
func (r *relay) serves(serial string) error {
	r.client.CloseIdleConnections()
	response, err := r.client.Get("https://" + r.address + "/healthz")
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if got := response.TLS.PeerCertificates[0].SerialNumber.String(); got != serial {
		return fmt.Errorf("certificate %s is served, want %s", got, serial)
	}
	return nil
}

func expect(relay *relay, code int, path string, header ...string) error {
	got, text, err := relay.get(path, header...)
	if err == nil && got != code {
		err = fmt.Errorf("%s: status %d, want %d: %s", path, got, code, text)
	}
	return err
}

// TestGracefulEnd: on SIGTERM a scrape under way ends as it would have.
func TestGracefulEnd(t *testing.T) {
	kubelet := newKubelet(t)
	process := startRelayToEnd(t, kubelet)
	pod := addPod(t, kubelet)
	listener, err := pod.Listen()
	require.NoError(t, err)
	defer listener.Close()
	var scrape sync.WaitGroup
	var code atomic.Int32
	scrape.Go(func() {
		got, _, _ := process.get(podPath(pod.UID))
		code.Store(int32(got))
	})
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	ended := make(chan error, 1)
	go func() { ended <- process.Terminate(patience) }()
	eventually(t, func() error { // the port closes first
		if _, _, err := process.get("/healthz"); err == nil {
			return fmt.Errorf("still takes connections")
		}
		return nil
	})
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n")
	require.NoError(t, err)
	scrape.Wait()
	require.EqualValues(t, http.StatusOK, code.Load())
	require.NoError(t, <-ended)
}
