package acceptance

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// maxSeries is how many series a VM may cost by default.
const maxSeries = 15

// TestPages looks at everything that is served while a VM runs.
func TestPages(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket()})
	p.await(t, "qemu-tcg")
	p.awaitStatus(t, "/healthz", 200)
	p.awaitStatus(t, "/readyz", 200)
	p.awaitStatus(t, "/nothing", 404)

	status, body, head, err := p.scraper.get("/")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Contains(t, head.Get("Content-Type"), "text/html")
	for _, text := range []string{"default/vm", "node-1", "qemu-tcg", "/metrics", "/healthz", "/readyz"} {
		require.Contains(t, string(body), text)
	}

	found := p.page(t)
	t.Logf("%d series", found.series())
	require.LessOrEqual(t, found.series(), maxSeries)
	for name := range found.families {
		require.True(t, strings.HasPrefix(name, "hypervisor_exporter_") || strings.HasPrefix(name, "kubevirt_vmi_hypervisor_"), name)
	}
	require.Equal(t, 1.0, found.number("hypervisor_exporter_build_info"))
	domain, err := found.labels(domainMetric)
	require.NoError(t, err)
	require.Equal(t, "qemu", domain["domain_type"])
	require.Equal(t, "x86_64", domain["arch"])
	require.Regexp(t, `^\d+\.\d+\.\d+$`, domain["libvirt_version"])
}

// TestFormats: OpenMetrics for those who ask for it, gzip too.
func TestFormats(t *testing.T) {
	t.Parallel()
	p := start(t, setup{socket: nowhere})
	p.awaitServing(t)
	_, text, head, err := p.scraper.get("/metrics")
	require.NoError(t, err)
	require.Contains(t, head.Get("Content-Type"), "text/plain; version=0.0.4")
	require.NotContains(t, string(text), "# EOF")

	_, open, head, err := p.scraper.get("/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	require.NoError(t, err)
	require.Contains(t, head.Get("Content-Type"), "application/openmetrics-text; version=1.0.0")
	require.True(t, bytes.HasSuffix(open, []byte("# EOF\n")))

	_, packed, head, err := p.scraper.get("/metrics", "Accept-Encoding", "gzip")
	require.NoError(t, err)
	require.Equal(t, "gzip", head.Get("Content-Encoding"))
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	unpacked, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Contains(t, string(unpacked), identityMetric+" 1")
}

// TestRuntimeMetrics: go_* and process_* are there when asked for.
func TestRuntimeMetrics(t *testing.T) {
	t.Parallel()
	p := start(t, setup{socket: nowhere, args: []string{"--web.runtime-metrics", "--web.telemetry-path=/other"}})
	p.awaitStatus(t, "/other", 200)
	p.awaitStatus(t, "/metrics", 404)
	_, body, _, err := p.scraper.get("/other")
	require.NoError(t, err)
	require.Contains(t, string(body), "\ngo_goroutines ")
	require.Contains(t, string(body), "\nprocess_resident_memory_bytes ")
}

// passwordHash is bcrypt's of "secret", at its least cost.
const passwordHash = "$2a$04$hf0./hxcYozgqGJyzVcOuublPisE8YkKfCfij6/.qhEtEYKufodsq"

// TestWebConfig: TLS and basic auth as exporter-toolkit does them, health check included.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	dir := folder(t, libvirttest.QEMUUser)
	writeCertificate(t, dir)
	const withTLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
	const withAuth = "basic_auth_users:\n  prometheus: " + passwordHash + "\n"
	for _, c := range []struct {
		name, scheme, config string
		auth                 bool
	}{
		{"TLS", "https", withTLS, false},
		{"basic auth", "http", withAuth, true},
		{"both", "https", withTLS + withAuth, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".yml")
			require.NoError(t, os.WriteFile(config, []byte(c.config), 0o644))
			address := freeAddress(t)
			p := start(t, setup{socket: nowhere, listen: address, args: []string{"--web.config.file=" + config}})
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			t.Cleanup(client.CloseIdleConnections)
			get := func(password string) (int, error) {
				request, err := http.NewRequest(http.MethodGet, c.scheme+"://"+address+"/metrics", nil)
				require.NoError(t, err)
				if password != "" {
					request.SetBasicAuth("prometheus", password)
				}
				response, err := client.Do(request)
				if err != nil {
					return 0, err
				}
				return response.StatusCode, response.Body.Close()
			}
			eventually(t, func() error { _, err := get(""); return err })
			for password, want := range map[string]int{"": 401, "wrong": 401, "secret": 200} {
				if !c.auth {
					want = 200
				}
				status, err := get(password)
				require.NoError(t, err)
				require.Equal(t, want, status, "password %q", password)
			}
			require.Zero(t, healthcheck(t, "--web.listen-address="+address, "--web.config.file="+config))
			require.True(t, p.alive())
		})
	}
}

// TestHealthcheck: 0 while the sidecar serves, 1 while it does not.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	unix := "unix://" + filepath.Join(folder(t, libvirttest.QEMUUser), "web.sock")
	for _, listen := range []string{unix, freeAddress(t), strings.Replace(freeAddress(t), "127.0.0.1", "0.0.0.0", 1), strings.TrimPrefix(freeAddress(t), "127.0.0.1")} {
		require.Equal(t, 1, healthcheck(t, "--web.listen-address="+listen), "nobody at %s", listen)
		p := start(t, setup{socket: nowhere, listen: listen, env: []string{"X=no identity, and yet healthy"}})
		eventually(t, func() error { _, err := p.scraper.scrape(); return err })
		require.Zero(t, healthcheck(t, "--web.listen-address="+listen), "%s", listen)
	}
}

// healthcheck runs the subcommand and returns its exit code.
func healthcheck(t *testing.T, args ...string) int {
	t.Helper()
	cmd := command(plain, libvirttest.QEMUUser, nil, append([]string{"healthcheck"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("healthcheck %v: %s", args, bytes.TrimSpace(out))
		require.Equal(t, 1, bytes.Count(out, []byte("\n")), "says why in one line")
	}
	return cmd.ProcessState.ExitCode()
}

// writeCertificate makes cert.pem and key.pem, readable for the sidecar.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"sidecar"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644))
	}
}
