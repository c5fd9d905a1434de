package hypervisor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Tracker holds the newest snapshot: one writer, the session, moves it on, any
// number of readers take it. Each change is logged once.
type Tracker struct {
	now     func() time.Time
	logger  *slog.Logger
	current atomic.Pointer[Snapshot]
	// movedAt is when current was set; only the writer uses it.
	movedAt time.Time
}

// NewTracker starts with a snapshot that knows nothing.
func NewTracker(id Identity, grace time.Duration, now func() time.Time, logger *slog.Logger) *Tracker {
	t := &Tracker{now: now, logger: logger, movedAt: now()}
	start := Start(id, grace, t.movedAt)
	t.current.Store(&start)
	return t
}

// Snapshot returns the newest snapshot; it never waits. The value pointed to is
// never written again, so equal pointers mean that nothing has changed.
func (t *Tracker) Snapshot() *Snapshot { return t.current.Load() }

// Connected takes note of a new connection to libvirt.
func (t *Tracker) Connected(v Versions) { t.move(t.Snapshot().AfterConnect(v)) }

// Versioned takes note of more versions that libvirt told.
func (t *Tracker) Versioned(v Versions) { t.move(t.Snapshot().AfterVersions(v)) }

// Observed takes note of a look at libvirt.
func (t *Tracker) Observed(o Observation) { t.move(t.Snapshot().AfterObservation(o, t.now())) }

// Lost takes note that libvirt does not answer.
func (t *Tracker) Lost(err error) { t.move(t.Snapshot().AfterLoss(err, t.now())) }

func (t *Tracker) move(next Snapshot) {
	before, was, now := *t.Snapshot(), t.movedAt, t.now()
	t.current.Store(&next)
	t.movedAt = now
	for _, change := range Changes(before, next, was, now) {
		t.logger.LogAttrs(context.Background(), change.Level, change.Message, change.Attrs...)
	}
}
