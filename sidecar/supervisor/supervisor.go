package main

import (
	"os"
	"syscall"
	"time"
)

// supervisor keeps one child running.
type supervisor struct {
	command    []string
	patience   patience
	terminated <-chan os.Signal // SIGTERM or SIGINT
	ended      <-chan os.Signal // SIGCHLD: of any child
	log        log

	restarts int
	ending   bool
}

// run starts the child again and again. It returns the exit code after a signal to end,
// or once the child has run a command other than serving.
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

// wait returns false if a signal to end came meanwhile.
func (s *supervisor) wait(pause time.Duration) bool {
	if pause == 0 {
		return true
	}
	select {
	case <-s.terminated:
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
		case signal := <-s.terminated:
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

// patience is how long things may take.
type patience struct {
	// first is the pause before the second start in a row; it doubles, up to most.
	// There is none before the first.
	first, most time.Duration
	// reset is how long a child must have lived for its end to count as the first.
	reset time.Duration
	// kill is how long a child may take to end after a signal.
	kill time.Duration
}

// pause returns the time until the next start: lived is how long the last child lived, and
// before the pause before that one, or less than 0 if that was the first.
func (p patience) pause(lived, before time.Duration) time.Duration {
	switch {
	case before < 0 || lived >= p.reset:
		return 0
	case before == 0:
		return p.first
	default:
		return min(2*before, p.most)
	}
}
