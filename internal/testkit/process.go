// Package testkit holds what tests of several rooms need: our programs, built and run, and waiting for the world outside.
package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program started beside the test. It never outlives the test's process, however that ends.
type Process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
	err     error // how it ended; read after ended is closed
}

// Start starts the command with its output in the file log. SysProcAttr's other fields are kept.
func Start(log string, command *exec.Cmd) (*Process, error) {
	p := &Process{command: command, log: log, ended: make(chan struct{})}
	output, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", command.Path, err)
	}
	p.command.Stdout, p.command.Stderr = output, output
	if p.command.SysProcAttr == nil {
		p.command.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.command.SysProcAttr.Pdeathsig, p.command.SysProcAttr.Setpgid = syscall.SIGKILL, true
	started := make(chan error)
	go p.run(output, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return p, nil
}

// run keeps the thread that started the program until it has ended: prctl(2), PR_SET_PDEATHSIG: the parent whose
// death is signalled is the thread, and Go ends idle threads as it likes.
func (p *Process) run(output *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { _ = output.Close() }()
	err := p.command.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.command.Wait()
	close(p.ended)
}

// Ended is closed once the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Terminate sends SIGTERM, waits and returns how the program ended; after the patience it is killed, which is an error.
func (p *Process) Terminate(patience time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s still ran %s after SIGTERM:\n%s", p.command.Path, patience, p.LogTail())
	}
}

// Kill ends the program at once and waits for it.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it fails only where the program has ended
	<-p.ended
}

// Path is the program that was started.
func (p *Process) Path() string { return p.command.Path }

// Pid is the program's process id.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Signal sends a signal; a program that has ended is no error.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", signal, p.command.Path, err)
	}
	return nil
}

// ExitCode is the exit code of a program that has ended, -1 while it runs or if a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.ended:
		return p.command.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Log returns everything that the program has written.
func (p *Process) Log() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// LogTail returns the last 4 kB that the program has written.
func (p *Process) LogTail() string {
	const enough = 4096
	log := p.Log()
	return strings.TrimSpace(log[max(0, len(log)-enough):])
}

// AwaitLog waits until the log contains the text, and returns how often it does.
func (p *Process) AwaitLog(t testing.TB, text string) int {
	t.Helper()
	Eventually(t, func() error {
		if !strings.Contains(p.Log(), text) {
			return fmt.Errorf("the log of %s does not contain %q:\n%s", p.command.Path, text, p.LogTail())
		}
		return nil
	})
	return strings.Count(p.Log(), text)
}
