package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// show runs the subcommand and returns its page, or the one line of a failure, which prints no page.
func show(t *testing.T, cmd *exec.Cmd) (page, reason string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%v: %s", err, &stderr)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line: %s", &stderr)
		require.Empty(t, stdout.String())
		return "", stderr.String()
	}
	require.Empty(t, stderr.String())
	return stdout.String(), ""
}

func showCommand(args ...string) *exec.Cmd {
	return command(plain, libvirttest.QEMUUser, nil, append([]string{"show"}, args...)...)
}

// TestShow: the same page that a scraper gets as text, from wherever the sidecar listens.
func TestShow(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"unix://" + filepath.Join(folder(t, libvirttest.QEMUUser), "web.sock"), testkit.FreeAddress(t)} {
		_, reason := show(t, showCommand("--listen-address="+listen))
		require.Contains(t, reason, "show "+listen, "nothing listens")

		p := start(t, setup{socket: nowhere, listen: listen})
		p.awaitStatus(t, "/healthz", http.StatusOK)
		page, _ := show(t, showCommand("--listen-address="+listen))
		require.Contains(t, page, "\nhypervisor_exporter_libvirt_up 0\n")
		require.NotContains(t, page, "# EOF", "not OpenMetrics")
	}
}

// TestShowFindsTheSocket: a command that the kubelet starts in the container knows none of the sidecar's flags.
func TestShowFindsTheSocket(t *testing.T) {
	t.Parallel()
	dir := folder(t, libvirttest.QEMUUser)
	p := start(t, setup{socket: nowhere, listen: "unix://" + filepath.Join(dir, "metrics.sock")})
	p.awaitStatus(t, "/healthz", http.StatusOK)
	const script = `mount -t tmpfs tmpfs /run; mkdir /run/hypervisor-exporter; mount --bind "$1" /run/hypervisor-exporter; exec "$2" show`
	page, _ := show(t, exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", dir, plain))
	require.Contains(t, page, "\nhypervisor_exporter_libvirt_up 0\n")
}

// TestShowOfAStranger: behind a TCP port of the pod the guest may answer. It gets neither memory nor time.
func TestShowOfAStranger(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.0 200 OK\r\n"
	for name, c := range map[string]struct{ answer, reason string }{
		"a page cut off":  {head + "Content-Length: 100\r\n\r\nhypervisor", "unexpected EOF"},
		"an endless page": {head + "\r\n" + strings.Repeat("x", 1<<20), "more than 262144 bytes"},
		"endless headers": {head + strings.Repeat("X-A: "+strings.Repeat("x", 1000)+"\r\n", 1000), "more than 262144 bytes"},
		"an endless line": {strings.Repeat("x", 1<<20), "more than 262144 bytes"},
		"another page":    {"HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found"},
		"no HTTP":         {"SSH-2.0-x\r\n\r\n", "malformed HTTP"},
		"silence":         {"", "i/o timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, reason := show(t, showCommand("--listen-address="+answering(t, c.answer)))
			require.Contains(t, reason, c.reason)
		})
	}
}

// answering is the address of a server that gives every request the answer and, where there is none, never ends.
func answering(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		_, _ = fmt.Fprint(conn, answer) // the client may have gone in the middle of it
		if answer == "" {
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	return listener.Addr().String()
}
