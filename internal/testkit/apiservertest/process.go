package apiservertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a program started beside the test. It never outlives the test's process, however that ends.
type Process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
	err     error // how it ended; read after ended is closed
}

// StartProcess starts the command with its output in the file log.
func StartProcess(log string, command *exec.Cmd) (*Process, error) {
	p := &Process{command: command, log: log, ended: make(chan struct{})}
	output, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", command.Path, err)
	}
	p.command.Stdout, p.command.Stderr = output, output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
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
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.command.Path, err)
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

// LogTail returns the last of what the program wrote.
func (p *Process) LogTail() string {
	const enough = 4096
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(content[max(0, len(content)-enough):]))
}
