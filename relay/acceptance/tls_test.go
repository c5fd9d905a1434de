package acceptance

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
)

const serverName = "hypervisor-exporter-relay.hypervisor-exporter.svc"

// A secret is a mounted Secret with a certificate, empty at first. The kubelet swaps its files at once.
type secret struct {
	dir        string
	generation int
	ca         *pki.Pair
}

func newSecret(t *testing.T) *secret {
	ca, err := pki.NewCA(serverName, time.Now(), time.Hour)
	require.NoError(t, err)
	return &secret{dir: t.TempDir(), ca: ca}
}

// issue puts a new certificate in place and returns its serial number.
func (s *secret) issue(t *testing.T) string {
	t.Helper()
	leaf, err := pki.IssueLeaf(s.ca, serverName, time.Now(), time.Hour)
	require.NoError(t, err)
	s.generation++
	data := fmt.Sprintf("..%d", s.generation)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, data), 0o700))
	for name, content := range map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, data, name), content, 0o600))
		if s.generation == 1 {
			require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)))
		}
	}
	s.swap(t, data)
	return leaf.Certificate.SerialNumber.String()
}

// swap makes ..data a link to the target.
func (s *secret) swap(t *testing.T, target string) {
	t.Helper()
	require.NoError(t, os.Symlink(target, filepath.Join(s.dir, "..tmp")))
	require.NoError(t, os.Rename(filepath.Join(s.dir, "..tmp"), filepath.Join(s.dir, "..data")))
}

// verifying returns a client that verifies as the PodMonitor does.
func (s *secret) verifying(t *testing.T) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.Certificate)
	return tlsClient(t, &tls.Config{RootCAs: roots, ServerName: serverName})
}

func tlsClient(t *testing.T, config *tls.Config) *http.Client {
	client := newClient(t, nil)
	client.Transport.(*http.Transport).TLSClientConfig = config
	return client
}

func (s *secret) flags() []string {
	return []string{"--tls-cert-file=" + filepath.Join(s.dir, "tls.crt"), "--tls-private-key-file=" + filepath.Join(s.dir, "tls.key")}
}

// awaitCertificate waits until the relay serves the certificate of that serial number.
func (r *relay) awaitCertificate(t *testing.T, serial string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		r.client.CloseIdleConnections()
		response, err := r.client.Get("https://" + r.address + "/healthz")
		if err != nil {
			return err
		}
		if got := response.TLS.PeerCertificates[0].SerialNumber.String(); got != serial {
			err = fmt.Errorf("certificate %s is served, want %s", got, serial)
		}
		return errors.Join(err, response.Body.Close())
	})
}

// awaitConfined waits until the relay is confined, and skips the test if the
// kernel cannot do it. What it cannot do then is tested in relay/confine.
func (r *relay) awaitConfined(t *testing.T) {
	t.Helper()
	r.AwaitLog(t, "confined by Landlock")
	if strings.Contains(r.Log(), "not confined by Landlock: the kernel lacks it") {
		t.Skip("no Landlock here")
	}
	require.Contains(t, r.Log(), `"msg":"confined by Landlock"`)
}

// TestByDefault is the relay as it is installed: TLS, tokens, and a Secret that is
// filled later. It reads its own token again when the kubelet has renewed it, though it is confined.
func TestByDefault(t *testing.T) {
	t.Parallel()
	kubelet, secret := newKubelet(t), newSecret(t)
	api, err := reviewer.New(filepath.Join(t.TempDir(), "account"), 0)
	require.NoError(t, err)
	defer api.Close()
	relay := startRelay(t, setup{kubelet: kubelet, api: api, args: secret.flags()})
	relay.awaitConfined(t)
	relay.scheme, relay.client = "https", secret.verifying(t)
	_, _, err = relay.get("/readyz")
	require.Error(t, err, "a client that verifies is not served before the Secret is filled")
	relay.client = tlsClient(t, &tls.Config{InsecureSkipVerify: true}) // the kubelet's probes
	relay.want(t, http.StatusOK, "/healthz")
	relay.want(t, http.StatusServiceUnavailable, "/readyz")

	relay.client = secret.verifying(t)
	secret.issue(t)
	relay.await(t, http.StatusOK, "/readyz")
	pod, scraper := podPath(addServingPod(t, kubelet).UID), "Bearer "+reviewer.Token()
	missing := podPath("00000000-0000-4000-8000-000000000000")
	for _, c := range []struct {
		code        int
		path, token string
	}{
		{http.StatusUnauthorized, pod, ""},
		{http.StatusUnauthorized, "/metrics", ""},
		{http.StatusUnauthorized, pod, "Bearer made-up"},
		{http.StatusUnauthorized, "/pods/nonsense/metrics", ""},
		{http.StatusUnauthorized, missing, ""},
		{http.StatusNotFound, missing, scraper},
		{http.StatusOK, pod, scraper},
	} {
		relay.want(t, c.code, c.path, "Authorization", c.token)
	}
	require.NoError(t, api.Renew())
	page := relay.want(t, http.StatusOK, "/metrics", "Authorization", scraper)
	require.Contains(t, page, "hypervisor_exporter_relay_certificate_not_after_timestamp_seconds")
	require.Contains(t, page, `hypervisor_exporter_relay_authorizations_total{decision="allowed",origin="apiserver"} 2`, "with the old token and with the new one")
}

// TestConfinedInCertificateFolder: the relay reads a certificate that the kubelet swaps in the mounted folder, and none that a
// link leads to outside of it, though it is root.
func TestConfinedInCertificateFolder(t *testing.T) {
	t.Parallel()
	kubelet, inside, outside := newKubelet(t), newSecret(t), newSecret(t)
	first := inside.issue(t)
	outside.issue(t)
	relay := startRelay(t, setup{kubelet: kubelet, args: inside.flags()})
	relay.awaitConfined(t)
	relay.scheme, relay.client = "https", inside.verifying(t)
	pod := addServingPod(t, kubelet) // added after the relay was confined
	relay.want(t, http.StatusOK, podPath(pod.UID))

	inside.swap(t, outside.dir)
	relay.AwaitLog(t, "permission denied")
	relay.awaitCertificate(t, first)
	relay.awaitCertificate(t, inside.issue(t))
}
