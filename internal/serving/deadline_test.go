package serving

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// TestDeadlines: a client that does not go on is left, wherever it stops.
func TestDeadlines(t *testing.T) {
	authority, err := pki.NewCA("x", time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(authority.CertPEM, authority.KeyPEM)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		tls  *tls.Config
		text string
	}{
		"before a handshake":  {tls: &tls.Config{Certificates: []tls.Certificate{pair}}},
		"within a handshake":  {tls: &tls.Config{Certificates: []tls.Certificate{pair}}, text: "\x16\x03\x01"},
		"before a header":     {},
		"within a header":     {text: "GET / HTTP/1.1\r\nHost: x\r\n"},
		"within a body":       {text: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na"},
		"after an answer":     {text: "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		"with the next begun": {text: "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.TLS, config.ReadTimeout, config.IdleTimeout = test.tls, 100*time.Millisecond, 100*time.Millisecond
			config.BodyDue = func(*http.Request) bool { return true }
			address := run(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					ok(w, r)
				}
			}))
			conn := dialFrom(t, "127.0.0.1", address)
			_, err := io.WriteString(conn, test.text)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, conn) // ends when the server has closed it
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// TestBoundsMustBeSet: net/http takes each of them for no bound where it is zero.
func TestBoundsMustBeSet(t *testing.T) {
	for name, unset := range map[string]func(*Config){
		"Limits.Connections": func(c *Config) { c.Limits.Connections = 0 },
		"MaxHeaderBytes":     func(c *Config) { c.MaxHeaderBytes = 0 },
		"ReadTimeout":        func(c *Config) { c.ReadTimeout = 0 },
		"WriteTimeout":       func(c *Config) { c.WriteTimeout = 0 },
		"IdleTimeout":        func(c *Config) { c.IdleTimeout = 0 },
	} {
		config := testConfig()
		unset(&config)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.ErrorContains(t, Serve(t.Context(), listener, http.NotFoundHandler(), config), name+" is not set")
	}
}
