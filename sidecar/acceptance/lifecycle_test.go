package acceptance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// nowhere is a socket that nobody listens on.
const nowhere = "/nonexistent/virtqemud-sock"

// endsWithin is the promise of issue and README for SIGTERM and SIGINT.
const endsWithin = time.Second

// TestEnds: SIGTERM and SIGINT end the sidecar with 0 within a second, whatever libvirt
// does meanwhile. A busy machine may delay one try of three. It takes leave of a libvirtd
// that answers; one that is frozen hears nothing, as farewell and hang-up together can
// crash it when it goes on.
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
				var times []time.Duration
				for range 3 {
					proxy := startProxy(t, daemon.Socket(), nil)
					p := start(t, setup{socket: proxy.socket})
					p.await(t, "qemu-tcg")
					require.NoError(t, c.stop())
					code, took, err := p.end(signal)
					require.NoError(t, daemon.Cont())
					require.NoError(t, err)
					require.Zero(t, code)
					calls := proxy.calls(time.Time{})
					require.Equal(t, c.leave, calls[len(calls)-1].procedure() == procConnectClose, "whether it takes leave")
					times = append(times, took)
				}
				t.Logf("ended after %v", times)
				require.LessOrEqual(t, slices.Min(times), endsWithin)
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
		require.NoError(t, p.cmd.Process.Signal(signal))
		p.holds(t, "qemu-tcg", 100*time.Millisecond)
	}
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	require.True(t, p.alive())
}

// TestWrongFlags: one line and the usage, and exit code 64.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--no-such-flag"},
		{"surplus"},
		{"--libvirt.timeout=0"},
		{"--libvirt.timeout=soon"},
		{"--libvirt.resync=0s"},
		{"--libvirt.grace=-1s"},
		{"--log.level=loud"},
		{"--web.telemetry-path=metrics"},
		{"--web.telemetry-path=/"},
		{"healthcheck", "--nonsense"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			cmd := command(plain, libvirttest.QEMUUser, nil, args...)
			out := &output{}
			cmd.Stdout, cmd.Stderr = out, out
			var failed *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &failed)
			require.Equal(t, 64, failed.ExitCode())
			first, rest, _ := strings.Cut(out.String(), "\n")
			require.Contains(t, first, "error: ")
			require.True(t, strings.HasPrefix(rest, "usage: "), "after one line, the usage: %s", out)
		})
	}
}

// TestVersion and help end well.
func TestVersion(t *testing.T) {
	t.Parallel()
	for flag, says := range map[string]string{"--version": "sidecar, version", "--help": "--libvirt.socket"} {
		out, err := command(plain, libvirttest.QEMUUser, nil, flag).CombinedOutput()
		require.NoError(t, err, flag)
		require.Contains(t, string(out), says)
	}
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
			p.awaitLog(t, "environment variable "+c.names)
			p.awaitStatus(t, "/readyz", 503)
			p.awaitStatus(t, "/healthz", 200)
		})
	}
}

// awaitStatus waits until a path is answered with the status.
func (p *sidecar) awaitStatus(t *testing.T, path string, want int) {
	t.Helper()
	eventually(t, func() error {
		status, body, _, err := p.scraper.get(path)
		if err == nil && status != want {
			err = fmt.Errorf("%s answered %d %s, want %d", path, status, body, want)
		}
		return err
	})
}
