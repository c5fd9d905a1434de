package hypervisor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Tracker holds the newest snapshot, and when libvirt last answered: one writer, the
// session, updates them, any number of readers take them. Each change is logged once.
type Tracker struct {
	now     func() time.Time
	logger  *slog.Logger
	current atomic.Pointer[Snapshot]
	// heard is apart from the snapshot: an answer to a ping changes nothing that is shown.
	heard atomic.Pointer[time.Time]
	// expired is what the last change found; only the writer uses it.
	expired bool
}

// NewTracker starts with a snapshot that knows nothing.
func NewTracker(id Identity, grace time.Duration, now func() time.Time, logger *slog.Logger) *Tracker {
	t := &Tracker{now: now, logger: logger}
	begin := now()
	start := Start(id, grace, begin)
	t.current.Store(&start)
	t.heard.Store(&begin)
	return t
}

// Snapshot returns the newest snapshot; it never waits. The value pointed to is
// never written again, so equal pointers mean that nothing has changed.
func (t *Tracker) Snapshot() *Snapshot { return t.current.Load() }

// HeardAt returns when libvirt last answered, for Snapshot.At; when the tracker was
// made if it has not yet. Call it before Snapshot: the snapshot is then no older.
func (t *Tracker) HeardAt() time.Time { return *t.heard.Load() }

// Heard records that libvirt has answered, and no more.
func (t *Tracker) Heard() {
	now := t.now()
	t.heard.Store(&now)
}

// Controlled records that libvirt has answered how QEMU's monitor of a domain is, or that it refused to. An answer like
// the last one makes no new snapshot, and so no new page.
func (t *Tracker) Controlled(id DomainID, control *Control) {
	t.Heard()
	before := t.Snapshot()
	after := before.AfterControl(id, control)
	if a, b := after.Control, before.Control; a == b || a != nil && b != nil && *a == *b {
		return
	}
	t.move(after)
}

// Connected records a new connection to libvirt.
func (t *Tracker) Connected(v Versions) { t.move(t.Snapshot().AfterConnect(v)) }

// Versioned records more versions that libvirt sent.
func (t *Tracker) Versioned(v Versions) { t.move(t.Snapshot().AfterVersions(v)) }

// Observed records the domains as libvirt has just listed them.
func (t *Tracker) Observed(o Observation) {
	now := t.now()
	next := t.Snapshot().AfterObservation(o, t.HeardAt(), now)
	before := t.current.Swap(&next)
	t.heard.Store(&now)
	t.log(before, &next)
}

// Lost records that libvirt does not answer.
func (t *Tracker) Lost(err error) { t.move(t.Snapshot().AfterLoss(err)) }

func (t *Tracker) move(next Snapshot) { t.log(t.current.Swap(&next), &next) }

// log writes the changes. It may block for as long as the log does: what is shown has
// been set before, and ages by HeardAt.
func (t *Tracker) log(before, after *Snapshot) {
	was, now := t.expired, after.Expired(t.now(), t.HeardAt())
	t.expired = now
	for _, change := range Changes(*before, *after, !was && now) {
		t.logger.LogAttrs(context.Background(), change.Level, change.Message, change.Attrs...)
	}
}
