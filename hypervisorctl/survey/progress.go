package survey

import (
	"fmt"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// Progress shows how far a list is. Its methods may be called from many goroutines.
type Progress interface {
	// Listed reports how many VMIs are known.
	Listed(vmis int)
	// Asked reports how many of the sidecars were asked.
	Asked(done, of int)
	// Done removes what was shown.
	Done()
}

const (
	// quiet is how long a list may take before anything is shown.
	quiet = time.Second
	// step is the least time between two changes of what is shown.
	step = 100 * time.Millisecond
)

// Silent is the Progress that shows nothing.
type Silent struct{}

// Listed implements Progress.
func (Silent) Listed(int) {}

// Asked implements Progress.
func (Silent) Asked(int, int) {}

// Done implements Progress.
func (Silent) Done() {}

// Line shows progress on one line of a terminal, once a list takes longer than a second.
type Line struct {
	out *terminal.Writer
	now func() time.Time

	mu    sync.Mutex
	next  time.Time
	shown bool
}

// NewLine starts a line; now is the clock.
func NewLine(out *terminal.Writer, now func() time.Time) *Line {
	return &Line{out: out, now: now, next: now().Add(quiet)}
}

// Listed implements Progress.
func (l *Line) Listed(vmis int) { l.show(fmt.Sprintf("listed %d VMIs …", vmis)) }

// Asked implements Progress.
func (l *Line) Asked(done, of int) { l.show(fmt.Sprintf("asked for %d of %d VMIs …", done, of)) }

func (l *Line) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Before(l.next) {
		return
	} else {
		l.next = now.Add(step)
	}
	l.shown = true
	_ = l.out.Status(text) // the list goes on if the terminal is gone
}

// Done implements Progress.
func (l *Line) Done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown {
		_ = l.out.Status("")
	}
	l.shown = false
}
