package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// vmi is the identity that a sidecar gets.
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
}

// sidecar is a running process of the binary under test.
type sidecar struct {
	*testkit.Process
	vmi     vmi
	listen  string
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
	if s.stderr != nil {
		s.under = []string{"/bin/sh", "-c", `exec "$@" >&3 2>&3 3>&-`, "sh"}
	}
	args := append([]string{"--listen-address=" + s.listen, "--libvirt-socket=" + s.socket}, s.args...)
	line := slices.Concat(s.under, []string{s.binary}, args)
	cmd := command(line[0], s.uid, s.env, line[1:]...)
	if s.stderr != nil {
		cmd.ExtraFiles = []*os.File{s.stderr}
	}
	if s.group != nil {
		cmd = container(s.group, s.binary, s.uid, s.env, args...)
	}
	process, err := testkit.Start(filepath.Join(t.TempDir(), "sidecar.log"), cmd)
	require.NoError(t, err)
	p := &sidecar{Process: process, vmi: s.vmi, listen: s.listen, scraper: newScraper(t, s.listen, s.vmi)}
	t.Cleanup(func() { p.tearDown(t) })
	return p
}

// command is the sidecar's, run as the given uid if this process is root.
func command(binary string, uid int, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	// GOMAXPROCS as in a pod, where the container has a small part of one CPU.
	cmd.Env = append([]string{"GOMAXPROCS=1", "GORACE=halt_on_error=1"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
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
	return cmd
}

func (p *sidecar) tearDown(t *testing.T) {
	code, _, err := p.end(syscall.SIGTERM)
	if err != nil || code != 0 {
		t.Errorf("the sidecar did not end well: exit code %d, %v", code, err)
	}
	p.Kill()
	log := p.Log()
	for _, sign := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, sign) {
			t.Errorf("the sidecar's log contains %q", sign)
		}
	}
	if t.Failed() {
		t.Logf("log of the sidecar at %s:\n%s", p.listen, log)
	}
}

// end signals the sidecar and returns its exit code and how long it took to end.
func (p *sidecar) end(signal syscall.Signal) (code int, took time.Duration, err error) {
	begin := time.Now()
	if err := p.Signal(signal); err != nil {
		return -1, 0, err
	}
	select {
	case <-p.Ended():
		return p.ExitCode(), time.Since(begin), nil
	case <-time.After(testkit.Patience):
		return -1, testkit.Patience, fmt.Errorf("still runs %v after %v", testkit.Patience, signal)
	}
}

// alive reports whether the process has not ended.
func (p *sidecar) alive() bool {
	select {
	case <-p.Ended():
		return false
	default:
		return true
	}
}

// folder makes a folder of uid's with a path short enough for Unix sockets, which
// everyone may enter.
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
