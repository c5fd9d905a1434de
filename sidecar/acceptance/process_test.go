package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// await bounds every wait for something that is bound to happen; it is generous, as
// speed is not what these tests are about.
const await = 45 * time.Second

// vmi is who a sidecar is told to stand beside.
type vmi struct{ namespace, name, node string }

func (v vmi) env() []string {
	return []string{"VMI_NAMESPACE=" + v.namespace, "VMI_NAME=" + v.name, "NODE_NAME=" + v.node}
}

// setup of a sidecar; the zero value of each field but socket is good.
type setup struct {
	binary string   // the plain one
	socket string   // libvirt's
	vmi    vmi      // default/vm on node-1
	env    []string // instead of vmi's variables
	uid    int      // KubeVirt's, libvirttest.QEMUUser
	listen string   // a Unix socket in a folder of its own
	args   []string
	stderr *os.File        // instead of the log
	group  *memlimit.Group // as a container: limited, under the supervisor, with the image's environment
	under  []string        // the programs that run the binary, each given the rest of the line
	keep   bool            // its end is the test's business
}

// sidecar is a running process of the binary under test.
type sidecar struct {
	vmi     vmi
	listen  string
	log     *output
	cmd     *exec.Cmd
	exited  chan struct{}
	scraper *scraper
}

// start runs a sidecar. When the test ends, so does the sidecar, which must then exit
// with 0 and have reported neither a data race nor a panic.
func start(t *testing.T, s setup) *sidecar {
	t.Helper()
	if s.binary == "" {
		s.binary = plain
	}
	if s.vmi == (vmi{}) {
		s.vmi = vmi{"default", "vm", "node-1"}
	}
	if s.env == nil {
		s.env = s.vmi.env()
	}
	if s.uid == 0 {
		s.uid = libvirttest.QEMUUser
	}
	if s.listen == "" {
		s.listen = "unix://" + filepath.Join(folder(t, s.uid), "web.sock")
	}
	p := &sidecar{vmi: s.vmi, listen: s.listen, log: &output{}, exited: make(chan struct{})}
	p.scraper = newScraper(t, s.listen, s.vmi)
	args := append([]string{"--web.listen-address=" + s.listen, "--libvirt.socket=" + s.socket}, s.args...)
	line := slices.Concat(s.under, []string{s.binary}, args)
	p.cmd = command(line[0], s.uid, s.env, line[1:]...)
	if s.group != nil {
		p.cmd = container(s.group, s.binary, s.uid, s.env, args...)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if s.stderr != nil {
		p.cmd.Stdout, p.cmd.Stderr = s.stderr, s.stderr
	}
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.tearDown(t, s.keep) })
	return p
}

// command is the sidecar's, run as the given uid as far as this process may choose.
func command(binary string, uid int, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	// GOMAXPROCS as in a pod, where the container has a small part of one CPU.
	cmd.Env = append([]string{"GOMAXPROCS=1", "GORACE=halt_on_error=1"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return cmd
}

// container runs the sidecar as its container does (Containerfile), in the group. The
// group can be entered by root only.
func container(group *memlimit.Group, binary string, uid int, env []string, args ...string) *exec.Cmd {
	user := strconv.Itoa(uid)
	line := append([]string{"setpriv", "--reuid", user, "--regid", user, "--clear-groups", supervisor, binary}, args...)
	line = group.Command(line...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1", "GOGC=10", "GOMEMLIMIT=12MiB"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (p *sidecar) tearDown(t *testing.T, keep bool) {
	if !keep {
		code, _, err := p.end(syscall.SIGTERM)
		if err != nil || code != 0 {
			t.Errorf("the sidecar did not end well: exit code %d, %v", code, err)
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	log := p.log.String()
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") {
		t.Errorf("the sidecar broke")
	}
	if t.Failed() {
		t.Logf("log of the sidecar at %s:\n%s", p.listen, log)
	}
}

// end signals the sidecar and tells its exit code and how long it took to end.
func (p *sidecar) end(signal os.Signal) (code int, took time.Duration, err error) {
	begin := time.Now()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return -1, 0, err
	}
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), time.Since(begin), nil
	case <-time.After(await):
		return -1, await, fmt.Errorf("still runs %v after %v", await, signal)
	}
}

// alive tells that the process has not ended.
func (p *sidecar) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// awaitLog waits until the log holds the text, and returns how often it does.
func (p *sidecar) awaitLog(t *testing.T, text string) int {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), text) {
			return fmt.Errorf("the log does not say %q", text)
		}
		return nil
	})
	return strings.Count(p.log.String(), text)
}

// output keeps what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// folder makes a folder of uid's with a path short enough for Unix sockets, which
// everybody may enter.
func folder(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "acc-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(dir, uid, uid))
	}
	return dir
}

// freeAddress is a TCP address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(await)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "after %v", await)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
