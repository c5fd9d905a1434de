package listing

import (
	"fmt"
	"io"
	"sync"
	"time"
)

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
	out io.Writer
	now func() time.Time

	mu    sync.Mutex
	next  time.Time
	shown bool
}

// NewLine starts a line; the clock is now's.
func NewLine(out io.Writer, now func() time.Time) *Line {
	return &Line{out: out, now: now, next: now().Add(quiet)}
}

// Listed implements Progress.
func (l *Line) Listed(vmis int) { l.show("listed %d VMIs …", vmis) }

// Asked implements Progress.
func (l *Line) Asked(done, of int) { l.show("asked for %d of %d VMIs …", done, of) }

func (l *Line) show(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Before(l.next) {
		return
	} else {
		l.next = now.Add(step)
	}
	l.shown = true
	_, _ = fmt.Fprintf(l.out, "\r\x1b[K"+format, args...) // a terminal that is gone is the list's business, not ours
}

// Done implements Progress.
func (l *Line) Done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K")
	}
	l.shown = false
}
