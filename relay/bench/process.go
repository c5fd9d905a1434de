package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is the running relay.
type process struct {
	command *exec.Cmd
	url     string
	client  *http.Client
}

// build makes the stripped binary as the image has it.
func build(ctx context.Context, dir string) (binary string, size int64, err error) {
	binary = filepath.Join(dir, "relay")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags=-s -w", "-o", binary, "kubevirt-hypervisor-exporter/relay")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return "", 0, err
	}
	return binary, info.Size(), nil
}

func startRelay(ctx context.Context, binary, pods string) (*process, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	command := exec.Command(binary, "--authorization=none", "--kubelet-pods-dir="+pods, "--web.listen-address="+address, "--log.level=warn")
	command.Env = append(os.Environ(), "GOMAXPROCS=1") // as in the image
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command, url: "http://" + address, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, DisableCompression: true},
		Timeout:   10 * time.Second,
	}}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := get(p.client, p.url+"/readyz"); err == nil {
			return p, nil
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, errors.New("the relay did not become ready")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			p.stop()
			return nil, err
		}
	}
}

func (p *process) stop() {
	p.client.CloseIdleConnections()
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait()
}

// resident is VmRSS in bytes.
func (p *process) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc")
}

// files is how many descriptors are open.
func (p *process) files() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.command.Process.Pid))
	return len(entries), err
}

// cpu is what all threads have spent, by the scheduler's own account.
func (p *process) cpu() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.command.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, errors.New("the relay has ended")
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		spent, _, _ := bytes.Cut(text, []byte(" "))
		nanoseconds, err := strconv.ParseInt(string(spent), 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(nanoseconds)
	}
	return total, nil
}

// pause waits, or returns the error of a context that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
