package hypervisor

import (
	"errors"
	"time"
)

// ErrorReason is the label reason of hypervisor_exporter_detection_errors_total.
type ErrorReason int

const (
	// ReasonXML: the domain's XML could not be parsed.
	ReasonXML ErrorReason = iota
	// ReasonNoType: the domain's XML names no type.
	ReasonNoType
	// ReasonNoMatch: there are domains, but none that is surely the VMI's.
	ReasonNoMatch
	// ReasonLibvirt: a connection was lost or refused, or libvirt failed a call.
	ReasonLibvirt
	// ErrorReasons is how many reasons there are.
	ErrorReasons
)

// String gives the value of the label reason.
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
	// Grace is how long a domain last seen running keeps its type while libvirt
	// cannot be heard; after that the type is Unknown.
	Grace time.Duration

	// Connected tells that libvirt answers.
	Connected bool
	// LostAt is when libvirt stopped answering; zero while the rest is current.
	LostAt time.Time
	// LostErr is why libvirt does not answer; nil while it does.
	LostErr error

	// Running tells that the VMI would be in phase Running.
	Running   bool
	State     State
	Match     Match
	Domain    string
	Detection Detection
	// DetectErr is why Detection says nothing: ErrXML, ErrNoType or nil.
	DetectErr error
	Versions  Versions

	// ChangedAt is when Running or the type last became another.
	ChangedAt  time.Time
	Connects   uint64
	Detections uint64
	Errors     [ErrorReasons]uint64
}

// Start is what is known before libvirt has been heard: nothing.
func Start(id Identity, grace time.Duration, now time.Time) Snapshot {
	return Snapshot{Identity: id, Grace: grace, ChangedAt: now}
}

// AfterConnect is the snapshot once a connection to libvirt is open. What was
// known before the last one broke stays stale until the next observation.
func (s Snapshot) AfterConnect(v Versions) Snapshot {
	s.Connected, s.LostErr, s.Versions = true, nil, v
	s.Connects++
	return s
}

// AfterVersions is the snapshot once libvirt has told more of its versions.
func (s Snapshot) AfterVersions(v Versions) Snapshot {
	s.Versions = v
	return s
}

// AfterLoss is the snapshot once libvirt no longer answers, or still does not.
func (s Snapshot) AfterLoss(err error, now time.Time) Snapshot {
	if s.LostAt.IsZero() {
		s.LostAt = now
	}
	s.Connected, s.LostErr = false, err
	s.Errors[ReasonLibvirt]++
	return s
}

// AfterObservation is the snapshot once libvirt has been looked at whole.
func (s Snapshot) AfterObservation(o Observation, now time.Time) Snapshot {
	before := s.At(now)
	s.LostAt = time.Time{}
	var domain Domain
	domain, s.Match = choose(s.Identity, o.Domains)
	s.Domain, s.State, s.Running = domain.Name, domain.State, domain.State.Running()
	if s.Match == Foreign || s.Match == Ambiguous {
		s.Errors[ReasonNoMatch]++
	}
	s = s.detect(domain)
	if after := s.At(now); after.Present != before.Present || after.Type != before.Type {
		s.ChangedAt = now
	} else {
		s.ChangedAt = before.ChangedAt
	}
	return s
}

// detect reads the type of a running domain; a domain that does not run has none.
func (s Snapshot) detect(domain Domain) Snapshot {
	s.Detection, s.DetectErr = Detection{}, nil
	if !s.Running {
		return s
	}
	s.Detections++
	s.Detection, s.DetectErr = Detect(domain.XML)
	switch {
	case errors.Is(s.DetectErr, ErrNoType):
		s.Errors[ReasonNoType]++
	case s.DetectErr != nil:
		s.Errors[ReasonXML]++
	}
	return s
}

// View is what may be said at one moment.
type View struct {
	// Present tells that the VMI runs, as far as is known.
	Present bool
	// Type is meaningful while Present.
	Type Type
	// Details tells that Detection and Versions may be shown as well: libvirt was
	// heard within the grace period, and the XML told the type.
	Details bool
	// ChangedAt is when Present or Type last became another.
	ChangedAt time.Time
}

// At is what may be said at the given moment: the grace period ends by itself,
// without anything having to wake up for it.
func (s Snapshot) At(now time.Time) View {
	view := View{Present: s.Running, Type: s.Detection.Type, ChangedAt: s.ChangedAt}
	if s.Expired(now) {
		if view.Type != Unknown && view.Present {
			view.ChangedAt = s.LostAt.Add(s.Grace)
		}
		view.Type = Unknown
		return view
	}
	view.Details = view.Present && s.DetectErr == nil
	return view
}

// Expired reports whether libvirt has been silent for longer than the grace period.
func (s Snapshot) Expired(now time.Time) bool {
	return !s.LostAt.IsZero() && now.Sub(s.LostAt) >= s.Grace
}
