package certificate

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// cert-manager's certificates begin when they are issued. A renewal waits until every verifier finds it valid. What lies
// between right clocks and clocks as wrong as they may be is accepted if these are, as a lifetime has no gap.
func TestARenewalThatBeginsNowWaitsForOtherClocks(t *testing.T) {
	each := []time.Duration{-pki.ClockError, 0, pki.ClockError}
	for _, issuer := range each {
		for _, server := range each {
			for _, verifier := range each {
				t.Run(fmt.Sprintf("issuer %s, server %s, verifier %s", issuer, server, verifier), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { requireRenewed(t, issuer, server, verifier) })
				})
			}
		}
	}
}

func requireRenewed(t *testing.T, issuer, server, verifier time.Duration) {
	ca, v := newCA(t, time.Now()), newVolume(t)
	install := func() {
		leaf := beginsNow(t, ca, time.Now().Add(issuer), 24*time.Hour)
		v.publish(t, leaf.CertPEM, leaf.KeyPEM)
	}
	install()
	source := v.source(io.Discard, 10*time.Minute, func() time.Time { return time.Now().Add(server) })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = source.Run(ctx) })
	defer running.Wait()
	defer cancel()
	accepted := func() error {
		synctest.Wait()
		served, err := source.GetCertificate(nil)
		require.NoError(t, err)
		return pki.Bundle{ca.Certificate}.Verify(served.Leaf, name, time.Now().Add(verifier))
	}
	time.Sleep(2 * 2 * pki.ClockError) // the first is the only one, and served at once
	first := serial(t, source)
	require.NoError(t, accepted())

	install()
	for range 2 * 9 {
		require.NoError(t, accepted(), "at %s", time.Now())
		time.Sleep(30 * time.Minute)
	}
	require.NotEqual(t, first, serial(t, source), "renewed")
}

func TestChangeover(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	one, other := newCA(t, now), newCA(t, now)
	month := 30 * 24 * time.Hour
	present := beginsNow(t, one, now.Add(-20*24*time.Hour), month).Certificate
	ending := beginsNow(t, one, now.Add(-month), month+time.Hour).Certificate
	renamed := *present
	renamed.DNSNames = []string{"another.ns.svc"}
	for name, c := range map[string]struct {
		present, next *x509.Certificate
		want          time.Time
	}{
		"renewal that begins now":              {present, beginsNow(t, one, now, month).Certificate, now.Add(4 * time.Hour)},
		"ours began five hours ago":            {present, issue(t, one, now).Certificate, now.Add(-time.Hour)},
		"the present one ends in an hour":      {ending, beginsNow(t, one, now, month).Certificate, now},
		"it begins tomorrow":                   {present, beginsNow(t, one, now.Add(24*time.Hour), month).Certificate, now.Add(28 * time.Hour)},
		"another CA: the present one is wrong": {present, beginsNow(t, other, now, month).Certificate, now},
		"other names":                          {&renamed, beginsNow(t, one, now, month).Certificate, now},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, changeover(c.present, c.next))
		})
	}
}

// beginsNow issues a certificate as cert-manager does: without a backdate.
func beginsNow(t *testing.T, ca *pki.Pair, now time.Time, life time.Duration) *pki.Pair {
	t.Helper()
	backdate := now.Sub(issue(t, ca, now).Certificate.NotBefore)
	leaf, err := pki.IssueLeaf(ca, name, now.Add(backdate), life-backdate)
	require.NoError(t, err)
	return leaf
}
