package acceptance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// nowhere is a socket that nobody listens on.
const nowhere = "/nonexistent/virtqemud-sock"

// endsWithin is the promise of issue and README for SIGTERM and SIGINT.
const endsWithin = time.Second

// TestEnds: SIGTERM and SIGINT end the sidecar with 0 within a second, whatever libvirt
// does meanwhile; a busy machine may delay a try. It closes the connection cleanly if libvirtd
// answers. To one that is frozen it sends nothing: ConnectClose and the end of the connection
// together can crash it when it goes on.
func TestEnds(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, c := range []struct {
			name  string
			stop  func() error
			leave bool
		}{
			{"libvirtd answers", func() error { return nil }, true},
			{"libvirtd is frozen", daemon.Stop, false},
		} {
			t.Run(fmt.Sprint(signal, ", ", c.name), func(t *testing.T) {
				took := endsWithin + 1
				for try := 0; took > endsWithin && try < 5; try++ {
					proxy := startProxy(t, daemon.Socket(), nil)
					p := start(t, setup{socket: proxy.socket})
					p.await(t, "qemu-tcg")
					require.NoError(t, c.stop())
					var code int
					var err error
					code, took, err = p.end(signal)
					require.NoError(t, daemon.Cont())
					require.NoError(t, err)
					require.Zero(t, code)
					calls := proxy.calls(time.Time{})
					require.Equal(t, c.leave, calls[len(calls)-1].procedure() == procConnectClose, "whether it closes cleanly")
					t.Logf("ended after %v", took)
				}
				require.LessOrEqual(t, took, endsWithin)
			})
		}
	}
	for name, serve := range map[string]func(net.Conn){"nobody listens": nil, "nobody answers": func(c net.Conn) { _, _ = readFrame(c); drip(c) }} {
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

// TestOnlyTheseEndIt: signals that other programs die of, and a log that nobody reads
// any more, do not end the sidecar.
func TestOnlyTheseEndIt(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	daemon := libvirtd(t)
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
// the log names the variable; and the sidecar serves on.
func TestIdentity(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	good := vmi{"default", "vm", "node-1"}.env()
	for name, c := range map[string]struct {
		env   []string
		names string
	}{
		"nothing":        {[]string{"X=y"}, "VMI_NAMESPACE"},
		"no name":        {[]string{good[0], good[2]}, "VMI_NAME"},
		"empty node":     {[]string{good[0], good[1], "NODE_NAME="}, "NODE_NAME"},
		"bad namespace":  {[]string{"VMI_NAMESPACE=a.b", good[1], good[2]}, "VMI_NAMESPACE"},
		"newline":        {[]string{good[0], "VMI_NAME=vm\nx", good[2]}, "VMI_NAME"},
		"name too long":  {[]string{good[0], "VMI_NAME=" + strings.Repeat("v", 254), good[2]}, "VMI_NAME"},
		"quote in label": {[]string{good[0], `VMI_NAME=vm"} 1`, good[2]}, "VMI_NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, setup{socket: daemon.Socket(), env: c.env})
			p.awaitUp(t, true)
			p.holds(t, absent, 150*time.Millisecond)
			require.Zero(t, p.page(t).number(identityMetric))
			p.AwaitLog(t, "environment variable "+c.names)
			p.awaitStatus(t, "/readyz", 503)
			p.awaitStatus(t, "/healthz", 200)
		})
	}
}

// awaitStatus waits until a path is answered with the status.
func (p *sidecar) awaitStatus(t *testing.T, path string, want int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		status, body, _, err := p.scraper.get(path)
		if err == nil && status != want {
			err = fmt.Errorf("%s answered %d %s, want %d", path, status, body, want)
		}
		return err
	})
}
