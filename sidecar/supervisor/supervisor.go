package main

import (
	"os"
	"syscall"
	"time"
)

// supervisor keeps one child running.
type supervisor struct {
	command  []string
	patience patience
	told     <-chan os.Signal // SIGTERM or SIGINT
	ended    <-chan os.Signal // SIGCHLD: look who
	log      log

	restarts int
	ending   bool
}

// run starts the child again and again. It returns the exit code when it was told
// to end, or when the child has done the one thing that it was asked to.
func (s *supervisor) run() int {
	pause := time.Duration(-1)
	for {
		began := time.Now()
		end := s.live()
		if s.ending || end.final() {
			return end.code()
		}
		pause = s.patience.pause(time.Since(began), pause)
		s.restarts++
		s.log.restart(end.reason(), s.restarts, pause)
		if !s.wait(pause) {
			return 0
		}
	}
}

// wait is false when it was told to end meanwhile.
func (s *supervisor) wait(pause time.Duration) bool {
	if pause == 0 {
		return true
	}
	select {
	case <-s.told:
		return false
	case <-time.After(pause):
		return true
	}
}

// live is one life of the child.
func (s *supervisor) live() end {
	pid, err := start(s.command, s.restarts)
	if err != nil {
		return end{err: err}
	}
	var overdue <-chan time.Time
	for {
		select {
		case signal := <-s.told:
			s.ending = true
			kill(pid, signal.(syscall.Signal))
			if overdue == nil {
				overdue = time.After(s.patience.kill)
			}
		case <-overdue:
			kill(pid, syscall.SIGKILL) // ends a stopped process, too
		case <-s.ended:
			if status, ok := reap(pid); ok {
				return end{status: status}
			}
		}
	}
}
