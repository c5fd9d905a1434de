package certs

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

const testName = "webhook.ns.svc"

func testPolicy() Policy {
	return Policy{DNSName: testName, CALifetime: 90 * day, LeafLifetime: 30 * day, Settle: 30 * time.Second}
}

const day = 24 * time.Hour

func newCA(t *testing.T, name string, now time.Time) *pki.Pair {
	t.Helper()
	pair, err := pki.NewCA(name, now, 90*day)
	require.NoError(t, err)
	return pair
}

func leaf(t *testing.T, signer *pki.Pair, name string, now time.Time) *pki.Pair {
	t.Helper()
	pair, err := pki.IssueLeaf(signer, name, now, 30*day)
	require.NoError(t, err)
	return pair
}

func TestPlan(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old, present := newCA(t, testName, start), newCA(t, testName, start)
	oldLeaf, presentLeaf := leaf(t, old, testName, start), leaf(t, present, testName, start)
	only := pki.Bundle{present.Certificate}
	both := pki.Bundle{present.Certificate, old.Certificate}
	long := Memory{PublishedSince: start.Add(-time.Hour), ConfirmedSince: start.Add(-time.Hour)}
	// settled is the state that needs nothing; each case breaks one thing.
	settled := func(change func(*State)) State {
		s := State{CA: present, Leaf: presentLeaf, Trusted: only, Published: [][]byte{only.PEM(), only.PEM()}}
		change(&s)
		return s
	}
	overlap := func(change func(*State)) State {
		return settled(func(s *State) {
			s.Trusted, s.Published = both, [][]byte{both.PEM()}
			change(s)
		})
	}
	nothing := func(*State) {}
	seconds := func(n int) time.Time { return start.Add(-time.Duration(n) * time.Second) }

	for name, c := range map[string]struct {
		at     time.Time
		state  State
		memory Memory
		want   Step
	}{
		"nothing to do":                        {start, settled(nothing), Memory{}, Rest},
		"no webhook configuration":             {start, settled(func(s *State) { s.Published = nil }), Memory{}, Rest},
		"nothing there yet":                    {start, State{Published: [][]byte{nil}}, Memory{}, IssueCA},
		"CA due":                               {start.Add(60*day + time.Minute), settled(nothing), long, IssueCA},
		"CA expired while asleep":              {start.Add(100 * day), settled(nothing), long, IssueCA},
		"CA not valid yet":                     {start.Add(-day), settled(nothing), long, IssueCA},
		"CA of another name":                   {start, settled(func(s *State) { s.CA = newCA(t, "other.ns.svc", start) }), long, IssueCA},
		"CA lost":                              {start, settled(func(s *State) { s.CA = nil }), long, IssueCA},
		"caBundle emptied":                     {start, settled(func(s *State) { s.Published = [][]byte{nil, only.PEM()} }), long, Publish},
		"caBundle overwritten":                 {start, settled(func(s *State) { s.Published = [][]byte{[]byte("x")} }), long, Publish},
		"caBundle with a foreign CA":           {start, settled(func(s *State) { s.Published = [][]byte{both.PEM()} }), long, Publish},
		"new CA not published":                 {start, State{CA: present, Leaf: oldLeaf, Trusted: pki.Bundle{old.Certificate}, Published: [][]byte{pki.Bundle{old.Certificate}.PEM()}}, long, Publish},
		"new CA just published":                {start, overlap(func(s *State) { s.Leaf = oldLeaf }), Memory{PublishedSince: seconds(29)}, AwaitPublication},
		"published, but since when is unknown": {start, overlap(func(s *State) { s.Leaf = oldLeaf }), Memory{}, AwaitPublication},
		"new CA published long enough":         {start, overlap(func(s *State) { s.Leaf = oldLeaf }), Memory{PublishedSince: seconds(30)}, IssueLeaf},
		"no leaf: nothing to wait for":         {start, settled(func(s *State) { s.Leaf = nil }), Memory{}, IssueLeaf},
		"leaf for another name":                {start, settled(func(s *State) { s.Leaf = oldLeaf }), Memory{}, IssueLeaf},
		"leaf due":                             {start.Add(20*day + time.Minute), settled(nothing), long, IssueLeaf},
		"leaf not due yet":                     {start.Add(20*day - 10*time.Minute), settled(nothing), long, Rest},
		"leaf due, caBundle repaired just now": {start.Add(21 * day), settled(nothing), Memory{}, AwaitPublication},
		"leaf expired while asleep":            {start.Add(31 * day), settled(nothing), Memory{}, IssueLeaf},
		"replicas not confirmed":               {start, overlap(nothing), Memory{PublishedSince: seconds(300)}, AwaitReplicas},
		"replicas confirmed just now":          {start, overlap(nothing), Memory{ConfirmedSince: seconds(29)}, AwaitReplicas},
		"replicas confirmed long enough":       {start, overlap(nothing), Memory{ConfirmedSince: seconds(30)}, Retire},
		"old CA retired, still in use":         {start, settled(func(s *State) { s.Published = [][]byte{both.PEM()} }), long, Publish},
		"trusted CAs overwritten":              {start, settled(func(s *State) { s.Trusted = nil }), Memory{}, AwaitReplicas},
		"old CA expired, none to wait for":     {start, settled(func(s *State) { s.Trusted = both.With(expired(t)) }), Memory{}, Publish},
		"old CA expired, not published":        {start, settled(func(s *State) { s.Trusted = only.With(expired(t)) }), Memory{}, Retire},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want.String(), testPolicy().Plan(c.at, c.state, c.memory).String())
		})
	}
}

// expired is a CA whose time was over in 2025.
func expired(t *testing.T) *x509.Certificate {
	return newCA(t, testName, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).Certificate
}

func TestParseDropsGarbage(t *testing.T) {
	good := newCA(t, testName, time.Now())
	other := newCA(t, testName, time.Now())
	served := leaf(t, good, testName, time.Now())
	for name, data := range map[string]map[string][]byte{
		"empty":          nil,
		"no PEM":         {CertKey: []byte("x"), KeyKey: []byte("y"), TrustKey: []byte("z")},
		"key of another": {CertKey: good.CertPEM, KeyKey: other.KeyPEM},
		"key as CA":      {CertKey: good.CertPEM, TrustKey: good.KeyPEM},
	} {
		t.Run(name, func(t *testing.T) {
			state := Parse(Snapshot{CA: Secret{Data: data}, Serving: Secret{Data: data}})
			require.Nil(t, state.CA)
			require.Nil(t, state.Leaf)
			require.Empty(t, state.Trusted)
		})
	}
	state := Parse(Snapshot{CA: Secret{Data: map[string][]byte{CertKey: served.CertPEM, KeyKey: served.KeyPEM}}})
	require.Nil(t, state.CA, "a certificate of a server")
}
