package hypervisor

import (
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
)

// TestRunning holds the whole table of states and reasons that libvirt knows.
func TestRunning(t *testing.T) {
	const every = -1
	for _, test := range []struct {
		state  libvirt.DomainState
		reason libvirt.DomainPausedReason
		want   bool
	}{
		{libvirt.DomainNostate, every, false},
		{libvirt.DomainRunning, every, true},
		{libvirt.DomainBlocked, every, true},
		{libvirt.DomainShutdown, every, false},
		{libvirt.DomainShutoff, every, false},
		{libvirt.DomainCrashed, every, false},
		{libvirt.DomainPmsuspended, every, true},
		{libvirt.DomainPmsuspended + 1, every, false},

		{libvirt.DomainPaused, libvirt.DomainPausedUnknown, true},
		{libvirt.DomainPaused, libvirt.DomainPausedUser, true},
		{libvirt.DomainPaused, libvirt.DomainPausedMigration, false},
		{libvirt.DomainPaused, libvirt.DomainPausedSave, true},
		{libvirt.DomainPaused, libvirt.DomainPausedDump, true},
		{libvirt.DomainPaused, libvirt.DomainPausedIoerror, true},
		{libvirt.DomainPaused, libvirt.DomainPausedWatchdog, true},
		{libvirt.DomainPaused, libvirt.DomainPausedFromSnapshot, true},
		{libvirt.DomainPaused, libvirt.DomainPausedShuttingDown, true},
		{libvirt.DomainPaused, libvirt.DomainPausedSnapshot, true},
		{libvirt.DomainPaused, libvirt.DomainPausedCrashed, true},
		{libvirt.DomainPaused, libvirt.DomainPausedStartingUp, false},
		{libvirt.DomainPaused, libvirt.DomainPausedPostcopy, false},
		{libvirt.DomainPaused, libvirt.DomainPausedPostcopyFailed, false},
		{libvirt.DomainPaused, libvirt.DomainPausedAPIError, true},
	} {
		reasons := []int32{int32(test.reason)}
		if test.reason == every {
			reasons = []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		}
		for _, reason := range reasons {
			require.Equal(t, test.want, State{test.state, reason}.Running(), "state %d, reason %d", test.state, reason)
		}
	}
}
