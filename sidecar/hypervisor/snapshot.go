// Package hypervisor decides what is true of a VMI's hypervisor. It is pure: libvirt's
// answers go in (an Observation, and when it last answered), one immutable
// Snapshot comes out. It opens nothing, waits for nothing and reads no clock.
package hypervisor

import (
	"errors"
	"time"
)

// ErrorReason is the label error of hypervisor_exporter_detection_error.
type ErrorReason int

const (
	// ReasonXML: the domain's XML could not be parsed.
	ReasonXML ErrorReason = iota
	// ReasonNoType: the domain's XML names no type.
	ReasonNoType
	// ReasonNoMatch: there are domains, but none that is surely the VMI's.
	ReasonNoMatch
	// ReasonLibvirt: a connection was lost or refused, or libvirt failed a call or left
	// it without an answer.
	ReasonLibvirt
	// ReasonTooLarge: the domain's XML does not fit into the sidecar's memory.
	ReasonTooLarge
	// ReasonIdentity: the environment names no VMI that could exist.
	ReasonIdentity
	// ErrorReasons is how many reasons there are.
	ErrorReasons
)

// String returns the value of the label error.
func (r ErrorReason) String() string {
	switch r {
	case ReasonXML:
		return "xml"
	case ReasonNoType:
		return "no_type"
	case ReasonNoMatch:
		return "no_match"
	case ReasonLibvirt:
		return "libvirt"
	case ReasonTooLarge:
		return "too_large"
	case ReasonIdentity:
		return "identity"
	case ErrorReasons:
		return "invalid"
	default:
		return "invalid"
	}
}

// Snapshot is everything that is known at one moment. It is a value: each of its
// methods returns a new one and leaves the old one as it is.
type Snapshot struct {
	Identity Identity
	// Grace is how long a domain last seen running keeps its type after libvirt's last
	// answer; after that the type is Unknown.
	Grace time.Duration

	// Connected is true while there is a connection to libvirt.
	Connected bool
	// LostErr is why there is no connection; nil while there is one.
	LostErr error

	// Running is true if the VMI would be in phase Running.
	Running bool
	// ID is that of the VMI's domain; zero without one.
	ID DomainID
	// Ran is the VMI's domain if it has been seen running here; zero if not.
	Ran       DomainID
	State     State
	Match     Match
	Domain    string
	Detection Detection
	// DetectErr is why Detection is empty, as Description.Err; otherwise nil.
	DetectErr error
	Versions  Versions

	// Control is the state of QEMU's monitor; nil while the VMI does not run, and where libvirt does not say.
	Control *Control

	// ChangedAt is when Running or the type last became another.
	ChangedAt time.Time
	Connects  uint64
}

// Start is what is known before libvirt has been heard: nothing.
func Start(id Identity, grace time.Duration, now time.Time) Snapshot {
	return Snapshot{Identity: id, Grace: grace, ChangedAt: now}
}

// AfterConnect is the snapshot once a connection to libvirt is open. What was known
// before the last one broke stays until the next observation.
func (s Snapshot) AfterConnect(v Versions) Snapshot {
	s.Connected, s.LostErr, s.Versions = true, nil, v
	s.Connects++
	return s
}

// AfterVersions is the snapshot once libvirt has sent more of its versions.
func (s Snapshot) AfterVersions(v Versions) Snapshot {
	s.Versions = v
	return s
}

// AfterLoss is the snapshot once libvirt no longer answers, or still does not.
func (s Snapshot) AfterLoss(err error) Snapshot {
	s.Connected, s.LostErr, s.Control = false, err, nil
	return s
}

// AfterObservation is the snapshot once libvirt has listed its domains; heard is when it
// had answered before that.
func (s Snapshot) AfterObservation(o Observation, heard, now time.Time) Snapshot {
	before := s.At(now, heard)
	var domain Domain
	domain, s.Match = choose(s.Identity, o.Domains)
	if !domain.State.Running(true) || domain.ID != s.ID {
		s.Control = nil
	}
	s.Domain, s.ID, s.State = domain.Name, domain.ID, domain.State
	switch {
	case domain.State.runs():
		s.Ran = domain.ID
	case domain.ID != s.Ran:
		s.Ran = DomainID{}
	}
	ran := s.Ran != DomainID{}
	s.Running = domain.State.Running(ran) && domain.Description != nil
	s.Detection, s.DetectErr = Detection{}, nil
	if s.Running { // a domain that does not run has no type
		s.Detection, s.DetectErr = domain.Description.Detection, domain.Description.Err
	}
	if after := s.At(now, now); after.Present != before.Present || after.Type != before.Type {
		s.ChangedAt = now
	} else {
		s.ChangedAt = before.ChangedAt
	}
	return s
}

// AfterControl is the snapshot once libvirt has answered how QEMU's monitor of a domain is; nil if it refused to.
func (s Snapshot) AfterControl(id DomainID, control *Control) Snapshot {
	s.Control = nil
	if s.Running && id == s.ID {
		s.Control = control
	}
	return s
}

// Problem returns why the type is not known, if it should be, at the moment of the view. Before
// a VM has started, libvirt does not answer yet.
func (s Snapshot) Problem(view View) (reason ErrorReason, found bool) {
	switch {
	case !s.Identity.Valid():
		return ReasonIdentity, true
	case !view.Up:
		return ReasonLibvirt, true
	case s.Match == Foreign || s.Match == Ambiguous:
		return ReasonNoMatch, true
	case view.Present && s.DetectErr != nil:
		return reasonOf(s.DetectErr), true
	default:
		return 0, false
	}
}

func reasonOf(err error) ErrorReason {
	switch {
	case errors.Is(err, ErrNoType):
		return ReasonNoType
	case errors.Is(err, ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, ErrNoAnswer):
		return ReasonLibvirt
	default:
		return ReasonXML
	}
}

// View is what is true at one moment.
type View struct {
	// Up is true if libvirt answers.
	Up bool
	// Present is true if the VMI runs, as far as is known.
	Present bool
	// Domain is true if libvirt has answered within the grace period and has the VMI's domain, whether it runs or not:
	// State is then true.
	Domain bool
	// Type is meaningful while Present.
	Type Type
	// Details is true if Detection and Versions may be shown as well: libvirt has
	// answered within the grace period, and the XML named the type.
	Details bool
	// ChangedAt is when Present or Type last became another.
	ChangedAt time.Time
}

// At returns what is true at the given moment, if libvirt last answered at heard. The
// grace period ends by itself: nothing has to wake up for it, and nothing that is stuck
// can prevent that.
func (s Snapshot) At(now, heard time.Time) View {
	view := View{Up: s.Connected, Present: s.Running, Type: s.Detection.Type, ChangedAt: s.ChangedAt}
	if s.Expired(now, heard) {
		if view.Type != Unknown && view.Present {
			view.ChangedAt = heard.Add(s.Grace)
		}
		view.Up, view.Type = false, Unknown
		return view
	}
	view.Domain = s.Match == Named || s.Match == ByMetadata
	view.Details = view.Present && s.DetectErr == nil
	return view
}

// Expired reports whether libvirt's last answer is as old as the grace period.
func (s Snapshot) Expired(now, heard time.Time) bool { return now.Sub(heard) >= s.Grace }
