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

	"kubevirt-hypervisor-exporter/webhook/certs/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run serves until the test ends, and gives the URL's host and port.
func run(t *testing.T, config Config, handler http.Handler) string {
	t.Helper()
	config.Address, config.Timeout, config.Drain, config.Logger = "127.0.0.1:0", time.Minute, time.Second, slog.New(slog.DiscardHandler)
	server, err := Listen(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { require.NoError(t, server.Run(ctx, handler)) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		require.True(t, server.Draining())
	})
	return server.Address()
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
	authority, err := pki.NewAuthority("relay", time.Now(), time.Hour)
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
	require.Equal(t, "plain HTTP/1.1", get(t, "http://"+run(t, Config{}, handler)))
	require.Equal(t, "TLS HTTP/1.1", get(t, "https://"+run(t, Config{
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
	}, handler)))
	require.Equal(t, "TLS HTTP/1.1", get(t, "https://"+run(t, Config{WebConfigFile: filepath.Join(dir, "web.yml")}, handler)))
}

func TestCannotServe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = Listen(Config{Address: taken.Addr().String()})
	require.ErrorContains(t, err, "address already in use")

	server, err := Listen(Config{Address: "127.0.0.1:0", WebConfigFile: "/nowhere", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.ErrorContains(t, server.Run(t.Context(), http.NotFoundHandler()), "/nowhere")
}
