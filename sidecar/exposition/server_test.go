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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/internal/testkit"
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
	require.ErrorContains(t, err, "not a socket")
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

// lines are what a logger writes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestServerWaitsForItsAddress: the server does not end while an address is in use, and
// serves it as soon as it is free. How it limits connections is in package serving.
func TestServerWaitsForItsAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in-the-way")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	logged := make(lines, 8)
	server := NewServer([]string{"unix://" + path}, false, slog.New(slog.NewTextHandler(logged, nil)))
	server.rebind = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Run(ctx, serving.Probe(nil))
	}()
	require.Contains(t, <-logged, "cannot serve")
	require.False(t, server.Ready())
	require.NoError(t, os.Remove(path))
	testkit.Eventually(t, func() error {
		if !server.Ready() {
			return errors.New("not ready")
		}
		return nil
	})
	require.Empty(t, logged, "logged once, not per attempt")

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
