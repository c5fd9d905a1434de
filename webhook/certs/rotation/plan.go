package rotation

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Step is the next thing a rotation needs.
type Step int

const (
	// Rest: everything is as it should be.
	Rest Step = iota
	// IssueAuthority: write a new authority. Its predecessor's key is gone
	// with that; its certificate stays trusted through the serving Secret.
	IssueAuthority
	// Publish: write the trusted authorities into the webhook configuration.
	Publish
	// AwaitPublication: every API server has to have seen the new authority
	// before anyone shows a certificate of it.
	AwaitPublication
	// IssueLeaf: write a new serving pair.
	IssueLeaf
	// AwaitReplicas: a replica may still show a certificate of an old authority.
	AwaitReplicas
	// Retire: no replica needs the old authorities; stop trusting them.
	Retire
)

// String names the step for logs and metrics.
func (s Step) String() string {
	switch s {
	case Rest:
		return "rest"
	case IssueAuthority:
		return "issue-authority"
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

// Policy is how long things live and how long others get to notice a change.
type Policy struct {
	// DNSName is the name the API server verifies: <service>.<namespace>.svc.
	DNSName string
	// AuthorityLifetime and LeafLifetime: each is replaced when a third is left.
	AuthorityLifetime time.Duration
	LeafLifetime      time.Duration
	// Settle is how long a caBundle must have stood unchanged before a leaf
	// relies on it, and how long all replicas must have shown the new leaf
	// without interruption before the old authority goes.
	Settle time.Duration
}

// Memory is what a process has seen over time. A new process starts with none
// and therefore waits longer, never shorter.
type Memory struct {
	// PublishedSince is since when the caBundle has been seen as it should be;
	// zero while it is not.
	PublishedSince time.Time
	// ConfirmedSince is since when every replica was seen to show a
	// certificate of the present authority; zero while one did not.
	ConfirmedSince time.Time

	// what was seen published, and which authority was confirmed
	bundle, authority []byte
}

// Plan names the next step. It is the whole order of a rotation:
//
//	authority due  → IssueAuthority → Publish (new+old) → AwaitPublication
//	               → IssueLeaf → AwaitReplicas → Retire → Publish (new) → Rest
//	leaf due       → IssueLeaf → Rest
//	nothing yet    → IssueAuthority → Publish → IssueLeaf → Rest
//	caBundle wrong → Publish, whatever else is going on
func (p Policy) Plan(now time.Time, s State, m Memory) Step {
	if s.Authority == nil || !p.signs(s.Authority.Certificate, now) {
		return IssueAuthority
	}
	bundle := s.Bundle(now)
	if !s.published(bundle.PEM()) {
		return Publish
	}
	present := pki.Bundle{s.Authority.Certificate}
	switch {
	case s.Leaf == nil || bundle.Verify(s.Leaf.Certificate, p.DNSName, now) != nil:
		// What is served now is refused by everyone: nothing to wait for.
		return IssueLeaf
	case pki.Due(s.Leaf.Certificate, now) || present.Verify(s.Leaf.Certificate, p.DNSName, now) != nil:
		return after(m.PublishedSince, now, p.Settle, AwaitPublication, IssueLeaf)
	case len(s.Trusted) == 1 && s.Trusted.Contains(s.Authority.Certificate):
		return Rest
	case len(bundle) == 1 && s.Trusted.Contains(s.Authority.Certificate):
		// The others have expired: no certificate of theirs verifies any more.
		return Retire
	default:
		return after(m.ConfirmedSince, now, p.Settle, AwaitReplicas, Retire)
	}
}

// signs says whether the authority can go on signing: it is valid, has more
// than a third of its life left, and its name constraint lets it sign for us.
func (p Policy) signs(authority *x509.Certificate, now time.Time) bool {
	if !pki.ValidAt(authority, now) || pki.Due(authority, now) {
		return false
	}
	permitted := authority.PermittedDNSDomains
	return len(permitted) == 1 && permitted[0] == p.DNSName
}

// after is wait until the settling time has passed since the given moment.
func after(since, now time.Time, settle time.Duration, wait, then Step) Step {
	if since.IsZero() || now.Sub(since) < settle {
		return wait
	}
	return then
}

// note keeps account of how long the caBundle has been right, and right in the
// same way: another process may have changed what is right, and published it,
// between two looks of ours.
func (m *Memory) note(now time.Time, want []byte, published bool) {
	switch {
	case !published:
		m.PublishedSince = time.Time{}
	case m.PublishedSince.IsZero() || !bytes.Equal(m.bundle, want):
		m.PublishedSince = now
	}
	m.bundle = want
}

// confirmed keeps account of how long all replicas have shown certificates of
// this authority.
func (m *Memory) confirmed(now time.Time, authority []byte) {
	if m.ConfirmedSince.IsZero() || !bytes.Equal(m.authority, authority) {
		m.ConfirmedSince = now
	}
	m.authority = authority
}
