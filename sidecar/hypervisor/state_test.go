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
