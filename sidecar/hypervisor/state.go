package hypervisor

import (
	"slices"

	libvirt "github.com/digitalocean/go-libvirt"
)

// State is a domain's state with libvirt's reason for it, as virDomainGetState
// returns them. What a reason means depends on the state.
type State struct {
	State  libvirt.DomainState
	Reason int32
}

// The words for each state and for its reasons, by their numbers: libvirt's names of virDomainState and of
// virDomainRunningReason and so on, in lower case. Reason 0 is unknown in every state.
var stateWords = []struct {
	state   string
	reasons []string
}{
	libvirt.DomainNostate: {state: "nostate"},
	libvirt.DomainRunning: {"running", []string{
		1: "booted", 2: "migrated", 3: "restored", 4: "from_snapshot", 5: "unpaused", 6: "migration_canceled", 7: "save_canceled",
		8: "wakeup", 9: "crashed", 10: "postcopy", 11: "postcopy_failed",
	}},
	libvirt.DomainBlocked: {state: "blocked"},
	libvirt.DomainPaused: {"paused", []string{
		1: "user", 2: "migration", 3: "save", 4: "dump", 5: "ioerror", 6: "watchdog", 7: "from_snapshot", 8: "shutting_down",
		9: "snapshot", 10: "crashed", 11: "starting_up", 12: "postcopy", 13: "postcopy_failed", 14: "api_error",
	}},
	libvirt.DomainShutdown: {"shutdown", []string{1: "user"}},
	libvirt.DomainShutoff: {"shutoff", []string{
		1: "shutdown", 2: "destroyed", 3: "crashed", 4: "migrated", 5: "saved", 6: "failed", 7: "from_snapshot", 8: "daemon",
	}},
	libvirt.DomainCrashed:     {"crashed", []string{1: "panicked"}},
	libvirt.DomainPmsuspended: {state: "pmsuspended"},
}

const unknownWord = "unknown"

// Words returns libvirt's words for the state and for its reason; unknown for a number that libvirt may add one day.
func (s State) Words() (state, reason string) {
	if s.State < 0 || int(s.State) >= len(stateWords) {
		return unknownWord, unknownWord
	}
	words := stateWords[s.State]
	if s.Reason <= 0 || int(s.Reason) >= len(words.reasons) {
		return words.state, unknownWord
	}
	return words.state, words.reasons[s.Reason]
}

// StateWords lists what Words can return.
func StateWords() (states, reasons []string) {
	reasons = []string{unknownWord}
	for _, words := range stateWords {
		states = append(states, words.state)
		for _, reason := range words.reasons {
			if reason != "" && !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	return append(states, unknownWord), reasons
}

// Running reports whether a VMI whose domain is in this state would be in phase
// Running; ran means that this domain was seen running here before. It follows
// KubeVirt's virt-handler (calculateVmPhaseForStatusReason in vm.go), which takes
// running, blocked, pmsuspended and most paused domains as Running; a state that
// libvirt may add one day is not Running until its meaning has been checked.
func (s State) Running(ran bool) bool {
	return s.runs() || s.State == libvirt.DomainPaused && pausedInPlace(libvirt.DomainPausedReason(s.Reason), ran)
}

// runs reports whether the guest itself runs here, or sleeps of its own accord. A
// migration's target does not get into such a state before it has switched over.
func (s State) runs() bool {
	switch s.State {
	case libvirt.DomainRunning, libvirt.DomainBlocked, libvirt.DomainPmsuspended:
		return true
	case libvirt.DomainNostate, libvirt.DomainPaused, libvirt.DomainShutdown, libvirt.DomainShutoff, libvirt.DomainCrashed:
		return false
	default:
		return false
	}
}

// pausedInPlace reports whether a paused VM belongs here. Others have not begun
// to run here or have moved away. KubeVirt knows the difference from its
// migration objects; libvirt has only the reason.
func pausedInPlace(reason libvirt.DomainPausedReason, ran bool) bool {
	switch reason {
	case libvirt.DomainPausedStartingUp:
		return false
	case libvirt.DomainPausedMigration:
		// On a target: it waits for its memory, and has not run here. On a source: it
		// copies the rest, which may take minutes (KubeVirt VEP 248), or has just
		// switched over; libvirt shuts it off as soon as the target confirms.
		return ran
	case libvirt.DomainPausedPostcopy:
		// The source; the VM runs on the target already.
		return false
	case libvirt.DomainPausedPostcopyFailed:
		// Memory is lost on both sides: KubeVirt fails the VMI.
		return false
	default:
		return true
	}
}
