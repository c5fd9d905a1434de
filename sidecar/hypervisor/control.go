package hypervisor

import "time"

// ControlState is what libvirt says about the monitor through which it controls QEMU (virDomainControlState).
type ControlState uint32

const (
	// ControlOK: the monitor is idle.
	ControlOK ControlState = iota
	// ControlJob: a job runs, such as a migration; the monitor answers beside it.
	ControlJob
	// ControlOccupied: a command waits for QEMU's answer.
	ControlOccupied
	// ControlError: the monitor cannot be used.
	ControlError
	// ControlStates is how many states there are.
	ControlStates
)

// String returns the value of the label control_state.
func (s ControlState) String() string {
	switch s {
	case ControlOK:
		return "ok"
	case ControlJob:
		return "job"
	case ControlOccupied:
		return "occupied"
	case ControlError:
		return "error"
	case ControlStates:
		return "invalid"
	default:
		return "invalid"
	}
}

// Control is the state of QEMU's monitor, and how long it had lasted when libvirt was asked; for an idle monitor and
// one that failed libvirt says 0.
type Control struct {
	State  ControlState
	Lasted time.Duration
}
