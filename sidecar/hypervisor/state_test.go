package hypervisor

import (
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
)

// TestRunning holds the whole table of states and reasons that libvirt knows.
func TestRunning(t *testing.T) {
	const every = -1
	type shown int
	const (
		never shown = iota
		always
		ifRan // only a domain that was seen running here
	)
	for _, test := range []struct {
		state  libvirt.DomainState
		reason libvirt.DomainPausedReason
		want   shown
	}{
		{libvirt.DomainNostate, every, never},
		{libvirt.DomainRunning, every, always},
		{libvirt.DomainBlocked, every, always},
		{libvirt.DomainShutdown, every, never},
		{libvirt.DomainShutoff, every, never},
		{libvirt.DomainCrashed, every, never},
		{libvirt.DomainPmsuspended, every, always},
		{libvirt.DomainPmsuspended + 1, every, never},

		{libvirt.DomainPaused, libvirt.DomainPausedUnknown, always},
		{libvirt.DomainPaused, libvirt.DomainPausedUser, always},
		{libvirt.DomainPaused, libvirt.DomainPausedMigration, ifRan},
		{libvirt.DomainPaused, libvirt.DomainPausedSave, always},
		{libvirt.DomainPaused, libvirt.DomainPausedDump, always},
		{libvirt.DomainPaused, libvirt.DomainPausedIoerror, always},
		{libvirt.DomainPaused, libvirt.DomainPausedWatchdog, always},
		{libvirt.DomainPaused, libvirt.DomainPausedFromSnapshot, always},
		{libvirt.DomainPaused, libvirt.DomainPausedShuttingDown, always},
		{libvirt.DomainPaused, libvirt.DomainPausedSnapshot, always},
		{libvirt.DomainPaused, libvirt.DomainPausedCrashed, always},
		{libvirt.DomainPaused, libvirt.DomainPausedStartingUp, never},
		{libvirt.DomainPaused, libvirt.DomainPausedPostcopy, never},
		{libvirt.DomainPaused, libvirt.DomainPausedPostcopyFailed, never},
		{libvirt.DomainPaused, libvirt.DomainPausedAPIError, always},
	} {
		reasons := []int32{int32(test.reason)}
		if test.reason == every {
			reasons = []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		}
		for _, reason := range reasons {
			for _, ran := range []bool{false, true} {
				want := test.want == always || test.want == ifRan && ran
				require.Equal(t, want, State{test.state, reason}.Running(ran), "state %d, reason %d, ran %v", test.state, reason, ran)
			}
		}
	}
}

// TestWords: the words are libvirt's own, each number has one, and what libvirt may add is unknown.
func TestWords(t *testing.T) {
	for _, test := range []struct {
		s             State
		state, reason string
	}{
		{State{libvirt.DomainRunning, int32(libvirt.DomainRunningBooted)}, "running", "booted"},
		{State{libvirt.DomainRunning, int32(libvirt.DomainRunningPostcopyFailed)}, "running", "postcopy_failed"},
		{State{libvirt.DomainPaused, int32(libvirt.DomainPausedIoerror)}, "paused", "ioerror"},
		{State{libvirt.DomainPaused, int32(libvirt.DomainPausedMigration)}, "paused", "migration"},
		{State{libvirt.DomainPaused, int32(libvirt.DomainPausedAPIError)}, "paused", "api_error"},
		{State{libvirt.DomainShutdown, int32(libvirt.DomainShutdownUser)}, "shutdown", "user"},
		{State{libvirt.DomainShutoff, int32(libvirt.DomainShutoffDaemon)}, "shutoff", "daemon"},
		{State{libvirt.DomainCrashed, int32(libvirt.DomainCrashedPanicked)}, "crashed", "panicked"},
		{State{libvirt.DomainPmsuspended, 0}, "pmsuspended", "unknown"},
		{State{libvirt.DomainBlocked, 1}, "blocked", "unknown"},
		{State{libvirt.DomainRunning, 12}, "running", "unknown"},
		{State{libvirt.DomainRunning, -1}, "running", "unknown"},
		{State{8, 1}, "unknown", "unknown"},
		{State{-1, 1}, "unknown", "unknown"},
	} {
		state, reason := test.s.Words()
		require.Equal(t, []string{test.state, test.reason}, []string{state, reason}, "%+v", test.s)
	}
	states, reasons := StateWords()
	for state := range int32(10) {
		for reason := range int32(20) {
			s, r := State{libvirt.DomainState(state), reason}.Words()
			require.Contains(t, states, s)
			require.Contains(t, reasons, r)
		}
	}
}
