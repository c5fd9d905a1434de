package serving

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/serving/webconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is one that no test waits for.
func testConfig() Config {
	return Config{
		Limits:         Limits{Connections: 16, PerSource: 8, New: 8, Trusted: 4},
		MaxHeaderBytes: 4 << 10,
		ReadTimeout:    time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute, Drain: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// run serves until the test ends, and returns the URL's host and port.
func run(t *testing.T, config Config, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { require.NoError(t, Serve(ctx, listener, handler, config)) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return listener.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(content)
}

// proto answers whether TLS was spoken, and which HTTP.
func proto(w http.ResponseWriter, r *http.Request) {
	text := "plain "
	if r.TLS != nil {
		text = "TLS "
	}
	_, _ = io.WriteString(w, text+r.Proto)
}

func TestServe(t *testing.T) {
	authority, err := pki.NewCA("relay", time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(authority.CertPEM, authority.KeyPEM)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"tls.crt": authority.CertPEM, "tls.key": authority.KeyPEM,
		"web.yml": []byte("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	handler := http.HandlerFunc(proto)
	require.Equal(t, "plain HTTP/1.1", get(t, "http://"+run(t, testConfig(), handler)))

	encrypted := testConfig()
	encrypted.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}
	require.Equal(t, "TLS HTTP/1.1", get(t, "https://"+run(t, encrypted, handler)))

	fromFile := testConfig()
	fromFile.Start = webconfig.Start(filepath.Join(dir, "web.yml"), fromFile.Logger)
	require.Equal(t, "TLS HTTP/1.1", get(t, "https://"+run(t, fromFile, handler)))
}

func TestCannotServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := testConfig()
	config.Start = webconfig.Start("/nowhere", config.Logger)
	require.ErrorContains(t, Serve(t.Context(), listener, http.NotFoundHandler(), config), "/nowhere")
	_, err = net.Dial("tcp", listener.Addr().String())
	require.Error(t, err, "the port is closed")
}

func debugLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
