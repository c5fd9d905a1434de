package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// startTimeout is how long a process may take to its first correct page.
const startTimeout = 20 * time.Second

// A program is one of those compared.
type program struct {
	name   string
	binary string
	// args makes the command line for an address to serve on.
	args func(address string) []string
	// want is what a correct page holds.
	want string
	env  []string
	uid  int
}

// A process is a running program.
type process struct {
	program
	address string
	command *exec.Cmd
	started time.Time
	output  *strings.Builder
}

// start starts the program, in the group if there is one, and returns at once.
func (p program) start(group *memlimit.Group) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &process{program: p, address: address, output: &strings.Builder{}}
	s.command = p.commandIn(group, p.args(address))
	s.command.Env = p.env
	s.command.Stdout, s.command.Stderr = s.output, s.output
	s.started = time.Now()
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return s, nil
}

// commandIn runs the program as its user, and ends it when the bench is killed.
func (p program) commandIn(group *memlimit.Group, args []string) *exec.Cmd {
	// Its own process group: Ctrl-C is for the bench, which cleans up.
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if group != nil {
		// A cgroup can be entered only by root; setpriv drops that afterwards.
		full := group.Command(append([]string{"setpriv", fmt.Sprintf("--reuid=%d", p.uid), fmt.Sprintf("--regid=%d", p.uid), "--clear-groups", "--pdeathsig=KILL", p.binary}, args...)...)
		command := exec.Command(full[0], full[1:]...)
		command.SysProcAttr = attr
		return command
	}
	if os.Getuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.uid)}
	}
	command := exec.Command(p.binary, args...)
	command.SysProcAttr = attr
	return command
}

// run starts the program and waits for its first correct page.
func (p program) run(ctx context.Context) (*process, error) {
	s, err := p.start(nil)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, p.want); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// await scrapes until the page holds want, and returns how long after the start
// that was.
func (s *process) await(ctx context.Context, want string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		page, err := scrapeOnce(s.address)
		if err == nil && strings.Contains(page, want) {
			return time.Since(s.started), nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return 0, fmt.Errorf("%s did not show %q: %w\n%s%s", s.name, want, err, page, s.stopAndTell())
		}
	}
}

func (s *process) pid() int { return s.command.Process.Pid }

// stop ends the process and waits for it; it may be called again.
func (s *process) stop() {
	if s.command.ProcessState != nil {
		return
	}
	s.command.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	timer := time.AfterFunc(2*time.Second, func() { s.command.Process.Kill() })
	defer timer.Stop()
	s.command.Wait() //nolint:errcheck // a yardstick ends by the signal
}

func (s *process) stopAndTell() string {
	s.stop()
	return s.output.String()
}

// ended tells why the process is no more, if that is so.
func (s *process) ended() error {
	if err := s.command.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s ended: %s", s.name, s.stopAndTell())
	}
	return nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
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
