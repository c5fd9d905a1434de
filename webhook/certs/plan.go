package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Step is the next thing that a rotation has to do.
type Step int

const (
	// Rest: everything is as it should be.
	Rest Step = iota
	// IssueCA: write a new CA. That overwrites its predecessor's key; the predecessor's certificate stays trusted through
	// the serving Secret.
	IssueCA
	// Publish: write the trusted CAs where verifiers read them.
	Publish
	// AwaitPublication: every verifier has to have read the new CA before anyone shows a certificate of it.
	AwaitPublication
	// IssueLeaf: write a new serving pair.
	IssueLeaf
	// AwaitReplicas: a replica may still show a certificate of an old CA.
	AwaitReplicas
	// Retire: no replica needs the old CAs; stop trusting them.
	Retire
)

// String names the step for logs and metrics.
func (s Step) String() string {
	switch s {
	case Rest:
		return "rest"
	case IssueCA:
		return "issue-authority" // the value of a metric's label: an interface
	case Publish:
		return "publish"
	case AwaitPublication:
		return "await-publication"
	case IssueLeaf:
		return "issue-leaf"
	case AwaitReplicas:
		return "await-replicas"
	case Retire:
		return "retire"
	}
	return fmt.Sprintf("Step(%d)", int(s))
}

// Policy is how long certificates live and how much time a change gets to spread.
type Policy struct {
	// DNSName is the name that verifiers check: <service>.<namespace>.svc.
	DNSName string
	// CALifetime and LeafLifetime: each is replaced when a third is left.
	CALifetime   time.Duration
	LeafLifetime time.Duration
	// Settle is how long a bundle must have been published unchanged before a leaf relies on it, and how long all
	// replicas must have shown the new leaf without interruption before the old CA is retired.
	Settle time.Duration
}

// Memory is what a process has seen over time. A new process starts with none and therefore waits longer, never shorter.
type Memory struct {
	// PublishedSince is since when the published bundle has been right; zero while it is not.
	PublishedSince time.Time
	// ConfirmedSince is since when every replica has shown a certificate of the present CA; zero while one did not.
	ConfirmedSince time.Time

	// which bundle was published, and which CA was confirmed
	bundle, ca []byte
}

// Plan names the next step. It is the whole order of a rotation:
//
//	CA due       → IssueCA → Publish (new+old) → AwaitPublication
//	             → IssueLeaf → AwaitReplicas → Retire → Publish (new) → Rest
//	leaf due     → IssueLeaf → Rest
//	nothing yet  → IssueCA → Publish → IssueLeaf → Rest
//	bundle wrong → Publish, whatever else is going on
func (p Policy) Plan(now time.Time, s State, m Memory) Step {
	if s.CA == nil || !p.signs(s.CA.Certificate, now) {
		return IssueCA
	}
	bundle := s.Bundle(now)
	if !s.published(bundle.PEM()) {
		return Publish
	}
	present := pki.Bundle{s.CA.Certificate}
	switch {
	case s.Leaf == nil || bundle.Verify(s.Leaf.Certificate, p.DNSName, now) != nil:
		// Everyone refuses what is served now: there is nothing to wait for.
		return IssueLeaf
	case pki.Due(s.Leaf.Certificate, now) || present.Verify(s.Leaf.Certificate, p.DNSName, now) != nil:
		return after(m.PublishedSince, now, p.Settle, AwaitPublication, IssueLeaf)
	case len(s.Trusted) == 1 && s.Trusted.Contains(s.CA.Certificate):
		return Rest
	case len(bundle) == 1 && s.Trusted.Contains(s.CA.Certificate):
		// The others have expired: they verify no certificate any more.
		return Retire
	default:
		return after(m.ConfirmedSince, now, p.Settle, AwaitReplicas, Retire)
	}
}

// signs reports whether the CA can go on signing: it is valid, has more than a third of its life left, and its name
// constraint lets it sign for us.
func (p Policy) signs(ca *x509.Certificate, now time.Time) bool {
	if !pki.ValidAt(ca, now) || pki.Due(ca, now) {
		return false
	}
	permitted := ca.PermittedDNSDomains
	return len(permitted) == 1 && permitted[0] == p.DNSName
}

// after returns wait until the settling time has passed since the given moment, and from then on next.
func after(since, now time.Time, settle time.Duration, wait, next Step) Step {
	if since.IsZero() || now.Sub(since) < settle {
		return wait
	}
	return next
}

// observed records for how long the published bundle has been right and the same: another process may have changed what
// is right, and published it, between two reads.
func (m *Memory) observed(now time.Time, want []byte, published bool) {
	switch {
	case !published:
		m.PublishedSince = time.Time{}
	case m.PublishedSince.IsZero() || !bytes.Equal(m.bundle, want):
		m.PublishedSince = now
	}
	m.bundle = want
}

// confirmed records for how long all replicas have shown certificates of this CA.
func (m *Memory) confirmed(now time.Time, ca []byte) {
	if m.ConfirmedSince.IsZero() || !bytes.Equal(m.ca, ca) {
		m.ConfirmedSince = now
	}
	m.ca = ca
}
