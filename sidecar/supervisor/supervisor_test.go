package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The exporter killed: back at once, on the same socket, with the counter one up.
func TestKilledExporterIsBack(t *testing.T) {
	p, socket := exporter(t)
	first := p.child(t, 0)
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	began := time.Now()
	awaitPage(t, socket, "hypervisor_exporter_restarts_total 1")
	t.Logf("back after %v", time.Since(began))
	require.Contains(t, p.log.String(), `reason="ended by signal 9, killed" restarts=1 wait=0s`)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, _ := p.wait(t)
	require.Zero(t, code)
}

// A frozen exporter does not hold the pod's end.
func TestFrozenExporterIsKilled(t *testing.T) {
	p, _ := exporter(t)
	child := p.child(t, 0)
	require.NoError(t, syscall.Kill(child, syscall.SIGSTOP))
	eventually(t, func() error {
		if now := state(child); now != "T" {
			return fmt.Errorf("state %s", now)
		}
		return nil
	})
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, took := p.wait(t)
	require.Equal(t, 128+9, code)
	require.Less(t, took, 10*time.Second, "the pod's grace period is 30 s")
	require.Empty(t, state(child))
}

// What is no service is done once, with its exit code.
func TestOneThingIsDoneOnce(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"--version", 0, "sidecar, version"},
		{"--help", 0, "usage: "},
		{"--no-such-flag", exitUsage, "error: "},
		{"healthcheck --web.listen-address=unix:///nowhere", 1, "healthcheck of"},
	} {
		p := run(t, nil, append([]string{sidecarBinary}, strings.Fields(test.args)...)...)
		code, _ := p.wait(t)
		require.Equal(t, test.code, code, test.args)
		require.Equal(t, 1, strings.Count(p.log.String(), test.says), test.args)
		require.NotContains(t, p.log.String(), "starting it anew")
	}
	code, _ := run(t, nil).wait(t)
	require.Equal(t, exitUsage, code, "without a command")
}

// A panic exits with 2, and is none of these.
func TestPanicIsNotFinal(t *testing.T) {
	p := run(t, nil, "/bin/sh", "-c", "exit 2")
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), `reason="exited with 2" restarts=2`) {
			return fmt.Errorf("%s", p.log)
		}
		return nil
	})
}

func TestChildThatCannotBeExecuted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "late")
	p := run(t, nil, path)
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), "cannot be started: no such file or directory") {
			return fmt.Errorf("%s", p.log)
		}
		return nil
	})
	content, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".next", content, 0o755))
	require.NoError(t, os.Rename(path+".next", path)) // never seen half written
	code, _ := p.wait(t)
	require.Equal(t, 1, code, "sleep without an argument")
}

// No process may be made, as when a pod is at its limit of them: tried again.
func TestForkFails(t *testing.T) {
	if os.Getuid() != 0 {
		require.FailNow(t, "run as root: another user's limit of processes has to be set")
	}
	prlimit, err := exec.LookPath("prlimit")
	require.NoError(t, err, "apt-get install util-linux")
	const limit = 40
	// A uid that nobody else has processes of.
	stranger := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65107, Gid: 65107}}
	p := run(t, func(c *exec.Cmd) {
		c.Args = append([]string{prlimit, fmt.Sprintf("--nproc=%d", limit), supervisorBinary}, c.Args[1:]...)
		c.Path, c.SysProcAttr = prlimit, stranger
	}, "/bin/sleep", "1000")
	child := p.child(t, 0)
	var others []*exec.Cmd
	for range limit {
		other := exec.Command("/bin/sleep", "1000")
		other.SysProcAttr = stranger
		require.NoError(t, other.Start())
		others = append(others, other)
		t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	}
	require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), "cannot be started: resource temporarily unavailable") {
			return fmt.Errorf("%s", p.log)
		}
		return nil
	})
	for _, other := range others {
		require.NoError(t, other.Process.Kill())
		_ = other.Wait()
	}
	p.child(t, child)
}

// Told to end at whatever moment, it ends, and leaves nothing.
func TestToldToEndAtEachMoment(t *testing.T) {
	for i := range 60 {
		p := run(t, nil, "/bin/sh", "-c", "exec sleep 1000")
		time.Sleep(time.Duration(i) * 300 * time.Microsecond) // the moment under test
		children := p.children(t)
		require.NoError(t, p.Process.Signal([]os.Signal{syscall.SIGTERM, syscall.SIGINT}[i%2]))
		code, _ := p.wait(t)
		require.NotEqual(t, 128+9, code, "it had not to be killed")
		for child := range children {
			require.Empty(t, state(child))
		}
	}
}

// What else it may be sent changes nothing.
func TestOtherSignalsAreIgnored(t *testing.T) {
	p, socket := exporter(t)
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		require.NoError(t, p.Process.Signal(signal))
	}
	awaitPage(t, socket, "hypervisor_exporter_restarts_total 0")
}

// The supervisor's own death is the child's.
func TestChildDiesWithTheSupervisor(t *testing.T) {
	p := run(t, nil, "/bin/sleep", "1000")
	child := p.child(t, 0)
	require.NoError(t, p.Process.Kill())
	<-p.exited
	eventually(t, func() error {
		if now := state(child); now != "" && now != "Z" {
			return fmt.Errorf("state %s", now)
		}
		return nil
	})
}

// Fifty deaths cost neither memory nor threads, and leave no zombie. The pauses are
// a millisecond here.
func TestFiftyDeaths(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	p := run(t, func(c *exec.Cmd) {
		c.Path, c.Env = self, append(c.Env, "SUPERVISE_FAST=1")
	}, "/bin/sleep", "1000")
	child := p.child(t, 0)
	for i := range 50 {
		require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
		child = p.child(t, child)
		if i == 10 {
			threads := len(tasks(t, p))
			defer func() { require.LessOrEqual(t, len(tasks(t, p)), threads+1) }()
		}
	}
	children := p.children(t)
	require.Len(t, children, 1)
	require.NotEqual(t, "Z", children[child])
}

func tasks(t *testing.T, p *pair) []os.DirEntry {
	t.Helper()
	found, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Process.Pid))
	require.NoError(t, err)
	return found
}

// As the first process of a container it inherits, and buries, orphans.
func TestOrphansAreReaped(t *testing.T) {
	_, err := exec.LookPath("unshare")
	require.NoError(t, err, "apt-get install util-linux")
	p := run(t, func(c *exec.Cmd) {
		c.Args = append([]string{"unshare", "--pid", "--mount-proc", "--fork", "--kill-child", supervisorBinary}, c.Args[1:]...)
		c.Path, err = exec.LookPath("unshare")
		require.NoError(t, err)
	}, "/bin/sh", "-c", `(sleep 0.2 &) ; sleep 0.5; ps=; for p in /proc/[0-9]*; do ps="$ps $(cut -d' ' -f2,3 $p/stat)"; done; echo "$ps"; exec sleep 1000`)
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), "(supervisor) S") {
			return fmt.Errorf("%s", p.log)
		}
		return nil
	})
	require.NotContains(t, p.log.String(), "(sleep) Z")
}
