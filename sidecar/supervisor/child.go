package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// envRestarts is how the exporter learns how often it was restarted.
const envRestarts = "HYPERVISOR_EXPORTER_RESTARTS"

// start starts the command, which dies with the calling thread.
func start(command []string, restarts int) (pid int, err error) {
	return syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Env:   environment(os.Environ(), restarts),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
}

func environment(own []string, restarts int) []string {
	env := make([]string, 0, len(own)+1)
	for _, entry := range own {
		if !strings.HasPrefix(entry, envRestarts+"=") {
			env = append(env, entry)
		}
	}
	return append(env, envRestarts+"="+strconv.Itoa(restarts))
}

// reap collects every process that has ended: the first process of a container
// inherits those whose parents are gone. It returns true if the child was among them.
func reap(child int) (status syscall.WaitStatus, found bool) {
	for {
		var one syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &one, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return status, found
		case pid == child:
			status, found = one, true
		}
	}
}

// kill cannot hit another process: the child keeps its number until it is reaped.
func kill(pid int, signal syscall.Signal) {
	_ = syscall.Kill(pid, signal)
}

// end is how a child ended: by err, if it could not be started.
type end struct {
	status syscall.WaitStatus
	err    error
}

// final reports whether the child has run a command other than serving: version and
// --help exit with 0, show also with 1, wrong flags with exitUsage. A restart would give
// the same. A panic exits with 2.
func (e end) final() bool {
	if e.err != nil || !e.status.Exited() {
		return false
	}
	code := e.status.ExitStatus()
	return code == 0 || code == 1 || code == exitUsage
}

// code is the exit code to pass on, for a signal as a shell has it.
func (e end) code() int {
	switch {
	case e.err != nil:
		return 1
	case e.status.Signaled():
		return 128 + int(e.status.Signal())
	default:
		return e.status.ExitStatus()
	}
}

func (e end) reason() string {
	switch {
	case e.err != nil:
		return "cannot be started: " + e.err.Error()
	case e.status.Signaled():
		return "ended by signal " + strconv.Itoa(int(e.status.Signal())) + ", " + e.status.Signal().String()
	default:
		return "exited with " + strconv.Itoa(e.status.ExitStatus())
	}
}
