package serving

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

var unixAddr = net.UnixAddr{Name: "/run/socket", Net: "unix"}

func tcpAddr(t *testing.T, text string) net.Addr {
	t.Helper()
	address, err := netip.ParseAddrPort(text)
	require.NoError(t, err)
	return net.TCPAddrFromAddrPort(address)
}

// patience bounds waits for what is bound to happen.
const patience = 20 * time.Second

// dial connects, and says text.
func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	return conn
}

// response reads one answer; whether the connection ends after it is for the caller.
func response(t *testing.T, conn net.Conn) (code int, closes bool) {
	t.Helper()
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	if answer.Close {
		_, err = reader.ReadByte()
		require.Error(t, err, "the connection is closed, too")
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	return answer.StatusCode, answer.Close
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func dialFrom(t *testing.T, local, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	conn, err := dialer.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// TestTrustOverTLS: the connection that is trusted outlives a flood from its own
// address, over TLS as without.
func TestTrustOverTLS(t *testing.T) {
	authority, err := pki.NewCA("x", time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(authority.CertPEM, authority.KeyPEM)
	require.NoError(t, err)
	for name, served := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: []tls.Certificate{pair}}} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.TLS, config.Limits = served, Limits{Connections: 4, New: 2, Trusted: 1}
			address := run(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				Trust(r)
				ok(w, r)
			}))
			conn := dialFrom(t, "127.0.0.1", address)
			if served != nil {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			ask := func() {
				_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				require.NoError(t, err)
				code, _ := response(t, conn)
				require.Equal(t, http.StatusOK, code)
			}
			ask()
			for range 40 {
				if other, err := net.Dial("tcp", address); err == nil { // else it was refused at once
					defer func() { _ = other.Close() }()
				}
			}
			ask()
		})
	}
}

func TestTrustElsewhere(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	Trust(r) // does nothing
}

// TestUnixSocketIsFull: held connections keep no request out, and no more stay than the
// limit.
func TestUnixSocketIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	config := testConfig()
	serving.Go(func() { _ = Serve(ctx, listener, http.HandlerFunc(ok), config) })
	defer serving.Wait()
	defer cancel()
	var held []net.Conn
	for range 5 * config.Limits.Connections {
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		code, _ := response(t, conn)
		require.Equal(t, http.StatusOK, code, "answered, however many others wait")
		held = append(held, conn)
	}
	open := 0
	for _, conn := range held {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	require.LessOrEqual(t, open, config.Limits.Connections)
	require.Positive(t, open)
}

// TestDrain: a request under way ends well; the port takes no other.
func TestDrain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	config := testConfig()
	config.Drain = patience
	go func() {
		ended <- Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			ok(w, r)
		}), config)
	}()
	conn := dial(t, listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	cancel()
	require.Eventually(t, func() bool {
		other, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	}, patience, time.Millisecond)
	close(release)
	code, _ := response(t, conn)
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, <-ended)
}

// TestErrorLog: a panic is an error; what a client does wrong is not.
func TestErrorLog(t *testing.T) {
	for line, want := range map[string]string{
		"http: panic serving 10.0.0.1:1: boom":           "level=ERROR",
		"http: TLS handshake error from 10.0.0.1:1: EOF": "level=DEBUG",
	} {
		var out strings.Builder
		_, err := errorLog{debugLogger(&out)}.Write([]byte(line + "\n"))
		require.NoError(t, err)
		require.Contains(t, out.String(), want)
	}
}
