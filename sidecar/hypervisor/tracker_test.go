package hypervisor

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stuckLog is a log handler that writes nothing until it is released, as a full pipe.
type stuckLog struct {
	slog.Handler
	release chan struct{}
}

func (l stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l stuckLog) Handle(context.Context, slog.Record) error {
	<-l.release
	return nil
}

// TestTrackerStuckLog: a session that hangs in a log line ages what is known, though it
// cannot say that anything is wrong.
func TestTrackerStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := stuckLog{release: make(chan struct{})}
		tracker := NewTracker(web, grace, time.Now, slog.New(log))
		view := func() View {
			heard := tracker.HeardAt()
			return tracker.Snapshot().At(time.Now(), heard)
		}
		done := make(chan struct{})
		go func() { // the session
			defer close(done)
			tracker.Connected(Versions{})
			tracker.Observed(one(running, kvmXML))
			tracker.Heard()
		}()
		log.release <- struct{}{}
		synctest.Wait()
		require.True(t, view().Up)
		require.Equal(t, KVM, view().Type)

		time.Sleep(grace) // the clock of the bubble
		require.Equal(t, View{Present: true, Type: Unknown, ChangedAt: time.Now()}, view())

		close(log.release)
		<-done
		require.Equal(t, KVM, view().Type, "and it is current again once the log goes on")
		require.True(t, view().Up)
	})
}

// TestTrackerPing: an answer to a ping keeps what is known current, and the snapshot
// the same: pages that were rendered for it stay.
func TestTrackerPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker(web, grace, time.Now, slog.New(slog.DiscardHandler))
		tracker.Connected(Versions{})
		tracker.Observed(one(running, kvmXML))
		snapshot, view := tracker.Snapshot(), tracker.Snapshot().At(time.Now(), tracker.HeardAt())
		for range 10 {
			time.Sleep(grace / 2) // the clock of the bubble
			tracker.Heard()
			require.Same(t, snapshot, tracker.Snapshot())
			require.Equal(t, view, tracker.Snapshot().At(time.Now(), tracker.HeardAt()))
		}
	})
}

// TestTrackerSameControl: an answer about QEMU's monitor like the last one keeps the snapshot, and is heard.
func TestTrackerSameControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker(web, grace, time.Now, slog.New(slog.DiscardHandler))
		tracker.Connected(Versions{})
		tracker.Observed(one(running, kvmXML))
		id := DomainID{Number: 1}
		tracker.Controlled(id, &Control{})
		snapshot := tracker.Snapshot()
		require.NotNil(t, snapshot.Control)
		time.Sleep(grace) // the clock of the bubble
		tracker.Controlled(id, &Control{})
		require.Same(t, snapshot, tracker.Snapshot())
		require.Equal(t, time.Now(), tracker.HeardAt())
		tracker.Controlled(id, &Control{State: ControlOccupied})
		require.Equal(t, ControlOccupied, tracker.Snapshot().Control.State)
		tracker.Controlled(id, nil)
		require.Nil(t, tracker.Snapshot().Control)
	})
}
