package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// The two binaries, built by TestMain.
var supervisorBinary, sidecarBinary string

func TestMain(m *testing.M) {
	if os.Getenv("SUPERVISE_FAST") == "1" {
		os.Exit(supervise(os.Args[1:], patience{first: 1, most: time.Millisecond, reset: time.Hour, kill: time.Second}))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "supervisor-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o755); err != nil { // another uid runs them, too
			panic(err)
		}
		supervisorBinary, sidecarBinary = filepath.Join(dir, "supervisor"), filepath.Join(dir, "sidecar")
		if err := testkit.Build(context.Background(), dir, "./sidecar", "./sidecar/supervisor"); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// pair is a supervisor that runs, and its child.
type pair struct{ *testkit.Process }

// run starts a supervisor of the command. Both end with the test.
func run(t *testing.T, change func(*exec.Cmd), command ...string) pair {
	t.Helper()
	cmd := exec.Command(supervisorBinary, command...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if change != nil {
		change(cmd)
	}
	process, err := testkit.Start(filepath.Join(t.TempDir(), "log"), cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Log(process.LogTail())
		}
	})
	return pair{process}
}

// children are the processes under the supervisor, and in what state each is.
func (p pair) children(t *testing.T) map[int]string {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Pid()))
	require.NoError(t, err)
	found := map[int]string{}
	for _, list := range lists {
		content, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(content)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			found[pid] = state(pid)
		}
	}
	return found
}

// state is the letter of /proc/PID/stat; "" if there is no such process.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

// awaitState waits until the process is in one of the states.
func awaitState(t *testing.T, pid int, states ...string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		now := state(pid)
		for _, state := range states {
			if now == state {
				return nil
			}
		}
		return fmt.Errorf("process %d is in state %q, want one of %q", pid, now, states)
	})
}

// child waits for one other than old.
func (p pair) child(t *testing.T, old int) (pid int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		for one, state := range p.children(t) {
			if one != old && state != "" && state != "Z" {
				pid = one
				return nil
			}
		}
		return errors.New("no new child")
	})
	return pid
}

// exitCode waits for the supervisor's end.
func (p pair) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(testkit.Patience):
		require.FailNow(t, "the supervisor still runs")
	}
	return p.ExitCode()
}

// exporter runs the pair on a Unix socket, with no libvirt.
func exporter(t *testing.T) (p pair, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "metrics.sock")
	p = run(t, nil, sidecarBinary, "--listen-address=unix://"+socket, "--libvirt-socket=/nowhere")
	awaitPage(t, socket, `hypervisor_exporter_restarts_total 0`)
	return p, socket
}

func awaitPage(t *testing.T, socket, want string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		page, err := scrape(socket)
		if err == nil && !strings.Contains(page, want) {
			err = errors.New(page)
		}
		return err
	})
}

func scrape(socket string) (string, error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Get("http://sidecar/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}
