package acceptance

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// netns is a network namespace. It lives as long as the process that holds it, and
// with it go all devices in it.
type netns struct{ path, pid string }

func newNetns(t *testing.T) netns {
	t.Helper()
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	holder, err := testkit.Start(filepath.Join(dir, "log"),
		exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up; echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep infinity`, "sh", pidFile))
	require.NoError(t, err)
	t.Cleanup(holder.Kill)
	var pid string
	testkit.Eventually(t, func() error {
		content, err := os.ReadFile(pidFile)
		pid = strings.TrimSpace(string(content))
		return err
	})
	return netns{path: "/proc/" + pid + "/ns/net", pid: pid}
}

// enter returns the beginning of a command that runs the rest in the namespace.
func (n netns) enter() []string { return []string{"nsenter", "--net=" + n.path} }

// run runs lines of shell in the namespace.
func (n netns) run(t *testing.T, script string, args ...string) {
	t.Helper()
	command := append(append(n.enter(), "sh", "-euc", script, "sh"), args...)
	output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, output)
}

// inside calls a function on a thread in the namespace, which then ends.
func (n netns) inside(call func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not fit for anything else
		fd, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err == nil {
			err = call()
		}
		done <- err
	}()
	return <-done
}

// dial connects from inside the namespace. The address must be numeric.
func (n netns) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.inside(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// serve answers in the namespace with a page, where listen listens.
func (n netns) serve(t *testing.T, listen func() (net.Listener, error), page string) {
	t.Helper()
	var listener net.Listener
	require.NoError(t, n.inside(func() (err error) {
		listener, err = listen()
		return err
	}))
	servePage(t, listener, page)
}

// scrape gets /metrics at an address from inside the namespace.
func (n netns) scrape(t *testing.T, address string) (string, error) {
	client := newClient(t, n.dial)
	client.Timeout = 2 * time.Second
	return (&relay{address: address, scheme: "http", client: client}).expect(http.StatusOK, "/metrics")
}
