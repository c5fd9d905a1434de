package libvirttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is generous: where KVM is itself emulated, a guest on a busy machine takes
// minutes to boot.
const patience = 5 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// types are those that this machine can run.
func types(t *testing.T) []Type {
	if err := HaveKVM(); err != nil {
		t.Logf("without KVM guests: %v", err)
		return []Type{TCG}
	}
	return []Type{TCG, KVM}
}

// sight is what one daemon shows of a domain during a step.
type sight struct {
	// events come in this order; one that begins with ? may be missing, as libvirt
	// and the death of a QEMU race for it. Empty: none comes.
	events string
	// states are all that may be seen, the state before the step aside; the last one
	// is where the step ends. Empty: the state stays what it was.
	states string
}

// view follows one domain on one daemon.
type view struct {
	*Recorder
	domain string
	read   int
	state  string
}

func watch(t *testing.T, d *Daemon, domain string) *view {
	return &view{Recorder: NewRecorder(t, d, 4*time.Millisecond), domain: domain, state: State{Gone: true}.String()}
}

// shows waits for the sight, and fails on anything else. An event too many that comes
// later fails the next step.
func (v *view) shows(t *testing.T, step string, want sight) {
	t.Helper()
	states := append([]string{v.state}, split(want.states)...)
	final := states[len(states)-1]
	deadline := time.Now().Add(patience)
	for {
		entries := v.Entries(v.domain)
		fresh := entries[v.read:]
		ended, problem := compare(fresh, split(want.events), states, v.state, final)
		require.Empty(t, problem, "step %q: %v", step, fresh)
		if ended {
			v.read, v.state = len(entries), final
			return
		}
		require.True(t, time.Now().Before(deadline), "step %q: want %+v, got in %s: %v", step, want, patience, fresh)
		<-time.After(5 * time.Millisecond)
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ", ")
}

// compare tells whether the entries are all that is wanted, or what can't be right any more.
func compare(entries []Entry, events, states []string, before, final string) (ended bool, problem string) {
	last := before
	for _, e := range entries {
		last = e.State.String()
		if !slices.Contains(states, last) {
			return false, "unexpected state " + last
		}
		if e.Event == nil {
			continue
		}
		for len(events) > 1 && events[0][0] == '?' && events[0] != "?"+e.Event.String() {
			events = events[1:] // an optional one that did not come
		}
		if len(events) == 0 || strings.TrimPrefix(events[0], "?") != e.Event.String() {
			return false, fmt.Sprintf("unexpected event %s, wanted: %v", e.Event, events)
		}
		events = events[1:]
	}
	return len(events) == 0 && last == final, ""
}
