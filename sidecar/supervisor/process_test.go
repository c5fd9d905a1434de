package main

import (
	"bytes"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const await = 20 * time.Second

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
		for binary, source := range map[string]string{supervisorBinary: ".", sidecarBinary: ".."} {
			build := exec.Command("go", "build", "-o", binary, source)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				panic(fmt.Sprintf("%v\n%s", err, out))
			}
		}
		return m.Run()
	}())
}

// pair is a supervisor that runs.
type pair struct {
	*exec.Cmd
	log    *output
	exited chan struct{}
}

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

// run starts a supervisor of the command. Whatever is left of both ends with the test.
func run(t *testing.T, change func(*exec.Cmd), command ...string) *pair {
	t.Helper()
	p := &pair{Cmd: exec.Command(supervisorBinary, command...), log: &output{}, exited: make(chan struct{})}
	p.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.Stdout, p.Stderr = p.log, p.log
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.WaitDelay = time.Second
	if change != nil {
		change(p.Cmd)
	}
	require.NoError(t, p.Start())
	go func() { defer close(p.exited); _ = p.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Log(p.log)
		}
	})
	return p
}

// children are the processes under the supervisor, and in what state each is.
func (p *pair) children(t *testing.T) map[int]string {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
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

// state is the letter of /proc/PID/stat; "" where there is no such process.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

// child waits for one that is not old.
func (p *pair) child(t *testing.T, old int) (pid int) {
	t.Helper()
	eventually(t, func() error {
		for one, state := range p.children(t) {
			if one != old && state != "" && state != "Z" {
				pid = one
				return nil
			}
		}
		return fmt.Errorf("no new child")
	})
	return pid
}

// wait tells the exit code and how long it took.
func (p *pair) wait(t *testing.T) (code int, took time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case <-p.exited:
		return p.ProcessState.ExitCode(), time.Since(began)
	case <-time.After(await):
		require.FailNow(t, "the supervisor still runs")
		return 0, 0
	}
}

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
		time.Sleep(2 * time.Millisecond)
	}
}

// exporter runs the pair on a Unix socket, with no libvirt.
func exporter(t *testing.T) (p *pair, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "metrics.sock")
	p = run(t, nil, sidecarBinary, "--web.listen-address=unix://"+socket, "--libvirt.socket=/nowhere")
	awaitPage(t, socket, `hypervisor_exporter_restarts_total 0`)
	return p, socket
}

func awaitPage(t *testing.T, socket, want string) {
	t.Helper()
	eventually(t, func() error {
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
