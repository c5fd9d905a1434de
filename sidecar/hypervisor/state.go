package hypervisor

import libvirt "github.com/digitalocean/go-libvirt"

// State is a domain's state with libvirt's reason for it, as virDomainGetState
// returns them. What a reason means depends on the state.
type State struct {
	State  libvirt.DomainState
	Reason int32
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
