package exposition

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	first, err := Listen("unix://"+path, false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o666, info.Mode())

	_, err = Listen("unix://"+path, false, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "in use")

	first.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, first.Close())
	require.FileExists(t, path)
	second, err := Listen("unix://"+path, false, slog.New(slog.DiscardHandler))
	require.NoError(t, err, "a stale socket is replaced")
	require.NoError(t, second.Close())

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = Listen("unix://"+path, false, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "no socket")
	require.FileExists(t, path)
}

func TestDialAddress(t *testing.T) {
	for listen, want := range map[string][2]string{
		":9477":            {"tcp", "localhost:9477"},
		"0.0.0.0:9477":     {"tcp", "localhost:9477"},
		"[::]:9477":        {"tcp", "localhost:9477"},
		"10.1.2.3:9477":    {"tcp", "10.1.2.3:9477"},
		"[fd00::1]:9477":   {"tcp", "[fd00::1]:9477"},
		"unix:///run/sock": {"unix", "/run/sock"},
	} {
		network, address := DialAddress(listen)
		require.Equal(t, want, [2]string{network, address})
	}
}

// records counts the lines that a server logs at level error.
type records struct {
	mu   sync.Mutex
	text []string
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, string(p))
	return len(p), nil
}

func (r *records) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.text {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// TestServerWaitsForItsAddress: an address in use is no reason to end, and is
// served as soon as it is free.
func TestServerWaitsForItsAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in-the-way")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	log := &records{}
	server := NewServer([]string{"unix://" + path}, false, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Run(ctx, http.HandlerFunc(healthz))
	}()
	require.Eventually(t, func() bool { return log.count("cannot serve") == 1 }, 5*time.Second, time.Millisecond)
	require.False(t, server.Ready())
	require.NoError(t, os.Remove(path))
	require.Eventually(t, server.Ready, 2*rebindWait, 10*time.Millisecond)
	require.Equal(t, 1, log.count("cannot serve"), "logged once, not per attempt")

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://sidecar/healthz")
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "ok\n", string(body))

	cancel()
	<-done
	require.NoFileExists(t, path)
}

// TestServerFull: connections that are held open keep no scrape out, and cost
// no more than their limit.
func TestServerFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	server := NewServer([]string{"unix://" + path}, false, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Run(ctx, http.HandlerFunc(healthz))
	}()
	defer func() { cancel(); <-done }()
	require.Eventually(t, server.Ready, 5*time.Second, time.Millisecond)

	ask := func() net.Conn {
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: sidecar\r\n\r\n")
		require.NoError(t, err)
		answer := make([]byte, 12)
		_, err = io.ReadFull(conn, answer)
		require.NoError(t, err, "answered at once, however many others wait")
		require.Equal(t, "HTTP/1.1 200", string(answer))
		return conn
	}
	var held []net.Conn
	for range 3 * maxConnections {
		held = append(held, ask())
	}
	for range maxConnections { // these say nothing at all
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		held = append(held, conn)
	}
	held = append(held, ask())
	var alive atomic.Int32
	var reads sync.WaitGroup
	for _, conn := range held {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(2*time.Second)))
		reads.Go(func() {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				alive.Add(1)
			}
			conn.Close()
		})
	}
	reads.Wait()
	require.LessOrEqual(t, int(alive.Load()), maxConnections)
	require.Greater(t, int(alive.Load()), maxConnections/2)
}
