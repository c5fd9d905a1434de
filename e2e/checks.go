package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// checks are the compiled checks.
type checks struct{ source, program string }

func (c checks) compile(ctx context.Context) error {
	command := exec.CommandContext(ctx, "go", "test", "-c", "-o", c.program, ".")
	command.Dir, command.Stdout, command.Stderr = c.source, os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("compile the checks: %w", err)
	}
	return nil
}

// run runs the checks; args are go test's, such as -run TestStart. go test itself does not run them, for they would
// outlive it.
func (c checks) run(ctx context.Context, args []string) error {
	flags := []string{"-test.v", "-test.parallel=8", "-test.timeout=90m"}
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "-"); ok {
			arg = "-test." + strings.TrimPrefix(name, "-")
		}
		flags = append(flags, arg)
	}
	command := exec.CommandContext(ctx, c.program, flags...)
	var summary summary
	command.Dir, command.Stdout, command.Stderr = c.source, io.MultiWriter(os.Stdout, &summary), os.Stderr
	// They end with us, however we end; the kernel takes the end of the thread for ours.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := command.Run()
	if summary.failures.Len() > 0 {
		fmt.Print("What failed:\n", summary.failures.String())
	}
	return err
}

// summary picks out of the checks' output what failed and why: one check's reason is hard to find between the lines of
// those beside it, and is followed by all that was found out about its pods.
type summary struct {
	line     []byte // not ended yet
	failures strings.Builder
}

func (s *summary) Write(output []byte) (int, error) {
	s.line = append(s.line, output...)
	for {
		line, rest, ended := bytes.Cut(s.line, []byte("\n"))
		if !ended {
			return len(output), nil
		}
		s.line = rest
		// go test's verdict, and testify's reasons, the only lines that begin like this.
		if text := string(line); strings.HasPrefix(strings.TrimLeft(text, " "), "--- FAIL: ") || strings.HasPrefix(text, "        \t") {
			s.failures.WriteString(text + "\n")
		}
	}
}
