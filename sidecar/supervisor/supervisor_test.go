package main

import (
	"encoding/json"
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

// TestKilledExporterIsBack: at once, on the same socket, with the counter one up.
func TestKilledExporterIsBack(t *testing.T) {
	t.Parallel()
	p, socket := exporter(t)
	require.NoError(t, syscall.Kill(p.child(t, 0), syscall.SIGKILL))
	awaitPage(t, socket, "hypervisor_exporter_restarts_total 1")
	require.Contains(t, p.Log(), `"reason":"ended by signal 9, killed","restarts":1,"wait":"0s"`)
	for _, other := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		require.NoError(t, p.Signal(other), "ignored")
	}
	awaitPage(t, socket, "hypervisor_exporter_restarts_total 1")
	require.NoError(t, p.Signal(syscall.SIGTERM))
	require.Zero(t, p.exitCode(t))
}

// TestFrozenExporterIsKilled: it does not delay the pod's end.
func TestFrozenExporterIsKilled(t *testing.T) {
	t.Parallel()
	p, _ := exporter(t)
	child := p.child(t, 0)
	require.NoError(t, syscall.Kill(child, syscall.SIGSTOP))
	awaitState(t, child, "T")
	require.NoError(t, p.Signal(syscall.SIGTERM))
	require.Equal(t, 128+9, p.exitCode(t))
	require.Empty(t, state(child))
}

// TestFinalExitCodes: a command that does not serve runs once, and its exit code is passed on.
func TestFinalExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   string
		code   int
		prints string
	}{
		{"version", 0, "sidecar (version="},
		{"--help", 0, "Usage:"},
		{"--no-such-flag", exitUsage, "error: "},
		{"show --listen-address=unix:///nowhere", 1, "show unix:///nowhere"},
	} {
		p := run(t, nil, append([]string{sidecarBinary}, strings.Fields(test.args)...)...)
		require.Equal(t, test.code, p.exitCode(t), test.args)
		require.Equal(t, 1, strings.Count(p.Log(), test.prints), test.args)
		require.NotContains(t, p.Log(), "restarting it")
	}
	require.Equal(t, exitUsage, run(t, nil).exitCode(t), "without a command")
}

// TestPanicIsNotFinal: it exits with 2, which is not one of these.
func TestPanicIsNotFinal(t *testing.T) {
	t.Parallel()
	run(t, nil, "/bin/sh", "-c", "exit 2").AwaitLog(t, `"reason":"exited with 2","restarts":2`)
}

func TestChildThatCannotBeExecuted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "late")
	p := run(t, nil, path)
	p.AwaitLog(t, "cannot be started: no such file or directory")
	content, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".next", content, 0o755))
	require.NoError(t, os.Rename(path+".next", path)) // never seen half written
	require.Equal(t, 1, p.exitCode(t), "sleep without an argument")
}

// TestForkFails: if no process can be made, as in a pod at its limit of processes, the supervisor tries again.
func TestForkFails(t *testing.T) {
	if os.Getuid() != 0 {
		require.FailNow(t, "run as root: another user's limit of processes has to be set")
	}
	prlimit, err := exec.LookPath("prlimit")
	require.NoError(t, err, "apt-get install util-linux")
	const limit = 40
	// A uid without other processes.
	stranger := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65107, Gid: 65107}}
	p := run(t, func(c *exec.Cmd) {
		c.Args = append([]string{prlimit, fmt.Sprintf("--nproc=%d", limit), supervisorBinary}, c.Args[1:]...)
		c.Path, c.SysProcAttr = prlimit, &syscall.SysProcAttr{Credential: stranger.Credential}
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
	p.AwaitLog(t, "cannot be started: resource temporarily unavailable")
	for _, other := range others {
		require.NoError(t, other.Process.Kill())
		_ = other.Wait()
	}
	p.child(t, child)
}

// TestEndsAtEachMoment: signalled at any moment, the supervisor ends and leaves no process.
func TestEndsAtEachMoment(t *testing.T) {
	for i := range 30 {
		p := run(t, nil, "/bin/sh", "-c", "exec sleep 1000")
		time.Sleep(time.Duration(i) * 600 * time.Microsecond) // the moment under test
		children := p.children(t)
		require.NoError(t, p.Signal([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i%2]))
		require.NotEqual(t, 128+9, p.exitCode(t), "it did not have to be killed")
		for child := range children {
			require.Empty(t, state(child))
		}
	}
}

// TestChildDiesWithTheSupervisor: even if that is killed.
func TestChildDiesWithTheSupervisor(t *testing.T) {
	p := run(t, nil, "/bin/sleep", "1000")
	child := p.child(t, 0)
	p.Kill()
	awaitState(t, child, "", "Z")
}

// TestFiftyDeaths cost neither memory nor threads, and leave no zombie. The pauses are
// a millisecond here.
func TestFiftyDeaths(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	p := run(t, func(c *exec.Cmd) {
		c.Path, c.Env = self, append(c.Env, "SUPERVISE_FAST=1")
	}, "/bin/sleep", "1000")
	threads := func() int {
		found, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
		require.NoError(t, err)
		return len(found)
	}
	child := p.child(t, 0)
	before := 0
	for i := range 50 {
		require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
		child = p.child(t, child)
		if i == 10 {
			before = threads()
		}
	}
	require.LessOrEqual(t, threads(), before+1)
	children := p.children(t)
	require.Len(t, children, 1)
	require.NotEqual(t, "Z", children[child])
}

// TestOrphansAreReaped: the first process of a container inherits them.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	require.NoError(t, err, "apt-get install util-linux")
	p := run(t, func(c *exec.Cmd) {
		c.Args = append([]string{"unshare", "--pid", "--mount-proc", "--fork", "--kill-child", supervisorBinary}, c.Args[1:]...)
		c.Path = unshare
	}, "/bin/sh", "-c", `(sleep 0.2 &) ; sleep 0.5; ps=; for p in /proc/[0-9]*; do ps="$ps $(cut -d' ' -f2,3 $p/stat)"; done; echo "$ps"; exec sleep 1000`)
	p.AwaitLog(t, "(supervisor) S")
	require.NotContains(t, p.Log(), "(sleep) Z")
}

func TestPause(t *testing.T) {
	p := patience{first: 100 * time.Millisecond, most: 10 * time.Second, reset: time.Minute}
	pause, pauses := time.Duration(-1), []time.Duration{}
	for range 10 {
		pause = p.pause(time.Millisecond, pause)
		pauses = append(pauses, pause)
	}
	const ms = time.Millisecond
	require.Equal(t, []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms}, pauses)
	require.Equal(t, 10*time.Second, p.pause(time.Minute-1, 10*time.Second))
	require.Zero(t, p.pause(time.Minute, 10*time.Second), "it lived a minute: its end counts as the first")
}

func TestLogLine(t *testing.T) {
	reason := `cannot be started: "no such"`
	var fields map[string]any
	require.NoError(t, json.Unmarshal(line(time.Date(2026, 11, 23, 7, 0, 0, 5e6, time.UTC), reason, 3, 200*time.Millisecond), &fields))
	require.Equal(t, map[string]any{
		"time": "2026-11-23T07:00:00.005Z", "level": "WARN", "source": "supervisor",
		"msg": "the exporter ended; restarting it", "reason": reason, "restarts": 3.0, "wait": "200ms",
	}, fields)
}

// TestLogDoesNotWait for the reader of a full pipe.
func TestLogDoesNotWait(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	l := newLog(writer.Fd())
	for range 2000 { // more than a pipe and the backlog hold
		l.restart("x", 1, 0)
	}
	close(l)
	require.NoError(t, reader.Close())
	require.NoError(t, writer.Close())
}
