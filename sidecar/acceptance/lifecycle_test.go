package acceptance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// nowhere is a socket without a listener.
const nowhere = "/nonexistent/virtqemud-sock"

// endsWithin is the promise of issue and README for SIGTERM and SIGINT.
const endsWithin = time.Second

// TestEnds: SIGTERM and SIGINT end the sidecar with 0 within a second, whatever libvirt
// does meanwhile; a busy machine may delay a try. It closes the connection cleanly if libvirtd
// answers. To one that is frozen it sends nothing: ConnectClose and the end of the connection
// together can crash it when it goes on.
func TestEnds(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		stop   func() error
		leave  bool
	}{
		{"libvirtd answers", syscall.SIGTERM, func() error { return nil }, true},
		{"libvirtd is frozen", syscall.SIGINT, daemon.Stop, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			took, closed := endsWithin+1, !c.leave
			for try := 0; (took > endsWithin || closed != c.leave) && try < 5; try++ {
				proxy := startProxy(t, daemon.Socket(), nil)
				p := start(t, setup{socket: proxy.socket})
				p.await(t, "qemu-tcg")
				require.NoError(t, c.stop())
				var code int
				var err error
				code, took, err = p.end(c.signal)
				require.NoError(t, daemon.Cont())
				require.NoError(t, err)
				require.Zero(t, code)
				calls := proxy.calls(time.Time{})
				closed = calls[len(calls)-1].procedure() == procConnectClose
				require.False(t, closed && !c.leave, "ConnectClose to a libvirtd that does not answer")
				t.Logf("ended after %v", took)
			}
			require.Equal(t, c.leave, closed, "whether it closes cleanly")
			require.LessOrEqual(t, took, endsWithin)
		})
	}
	for name, serve := range map[string]func(net.Conn){"no listener": nil, "no answer": func(c net.Conn) { _, _ = readFrame(c); drip(c) }} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
			if serve != nil {
				serveSocket(t, path, serve)
			}
			p := start(t, setup{socket: path})
			p.awaitServing(t)
			code, took, err := p.end(syscall.SIGTERM)
			require.NoError(t, err)
			require.Zero(t, code)
			t.Logf("ended after %v", took)
		})
	}
}

// TestOnlyTheseEndIt: signals that other programs die of, and a log without a reader, do
// not end the sidecar.
func TestOnlyTheseEndIt(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	daemon := libvirttest.New(t)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), stderr: write})
	require.NoError(t, write.Close())
	p.awaitUp(t, true)
	require.NoError(t, read.Close()) // from now on each log line meets EPIPE
	vm := runVM(t, daemon)
	p.await(t, "qemu-tcg")
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2} {
		require.NoError(t, p.Signal(signal))
		p.holds(t, "qemu-tcg", 100*time.Millisecond)
	}
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	require.True(t, p.alive())
}

// TestIdentity: without a name that could be a VMI's, no VMI is shown, even if one runs;
// the log names the variable; and the sidecar goes on serving. Which names are valid is in
// package hypervisor, TestNewIdentity.
func TestIdentity(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	env := []string{"VMI_NAMESPACE=default", "VMI_NAME=vm\nx", "NODE_NAME=node-1"}
	p := start(t, setup{socket: daemon.Socket(), env: env})
	p.awaitUp(t, true)
	p.holds(t, absent, 150*time.Millisecond)
	require.Equal(t, 1.0, p.page(t).number(errorMetric, "error", "identity"))
	p.AwaitLog(t, "environment variable VMI_NAME")
	p.awaitStatus(t, "/readyz", 503)
	p.awaitStatus(t, "/healthz", 200)
}

// TestListeners: the same page at each address. The sidecar waits for one that is in use, serves the others meanwhile, and
// logs one line however often it tries. A Unix socket is open to every user, and replaced if it is left over.
func TestListeners(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "web.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())

	p := start(t, setup{socket: nowhere, listen: "unix://" + path, args: []string{"--listen-address=" + taken.Addr().String()}})
	p.awaitStatus(t, "/healthz", 200)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o666, info.Mode())
	p.AwaitLog(t, "address already in use")
	p.awaitStatus(t, "/readyz", 503)
	require.NoError(t, taken.Close())
	p.awaitStatus(t, "/readyz", 200)
	for _, listen := range []string{taken.Addr().String(), p.listen} {
		found, err := newScraper(t, listen, p.vmi).scrape()
		require.NoError(t, err)
		require.Contains(t, found.families, upMetric)
	}
	require.Equal(t, 1, p.AwaitLog(t, "address already in use"))
}

// awaitStatus waits until a path is answered with the status.
func (p *sidecar) awaitStatus(t *testing.T, path string, want int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		status, body, err := p.scraper.get(path)
		if err == nil && status != want {
			err = fmt.Errorf("%s answered %d %s, want %d", path, status, body, want)
		}
		return err
	})
}
