package certs

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
)

// clocks are the clocks of a cluster: by how much each is wrong.
type clocks struct{ issuer, server, verifier time.Duration }

// clocksOff are clocks as wrong as they may be. Short of a soak, those are left out that are wrong in the same direction
// where certificates begin, or end: they are closer to each other.
func clocksOff() []clocks {
	all := []clocks{{}}
	wrong := []time.Duration{-pki.ClockError, pki.ClockError}
	for _, issuer := range wrong {
		for _, server := range wrong {
			for _, verifier := range wrong {
				if issuer != verifier || testkit.Soak() {
					all = append(all, clocks{issuer, server, verifier})
				}
			}
		}
	}
	return all
}

// The verifier accepts what is served in every hour of 20, or 30 in a soak, in which certificate and CA are replaced: from
// the first certificate on, whichever of the three clocks are two hours off, and also when the process that issues moves
// to a node whose clock is wrong in the other direction. Clocks that are less wrong are accepted if these are, as a
// certificate's lifetime has no gap.
func TestEveryClockAcceptsWhatIsServed(t *testing.T) {
	for _, c := range clocksOff() {
		t.Run(fmt.Sprintf("issuer %s, server %s, verifier %s", c.issuer, c.server, c.verifier), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { requireAccepted(t, c) })
		})
	}
}

func requireAccepted(t *testing.T, c clocks) {
	volume, cluster := t.TempDir(), newFakeCluster(0)
	cluster.mounted = func(data map[string][]byte) {
		require.NoError(t, testkit.PublishVolume(volume, map[string][]byte{CertKey: data[CertKey], KeyKey: data[KeyKey]}))
	}
	cluster.skew = c.issuer
	policy := Policy{DNSName: testName, CALifetime: 15 * time.Hour, LeafLifetime: 13 * time.Hour, Settle: 30 * time.Second}
	_, stop := startRotator(t, policy, cluster)
	defer stop()
	synctest.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	source := certificate.NewFileSource(filepath.Join(volume, CertKey), filepath.Join(volume, KeyKey), 10*time.Minute,
		func() time.Time { return time.Now().Add(c.server) }, slog.New(slog.DiscardHandler))
	running.Go(func() { _ = source.Run(ctx) })

	hours, replaced := 20, 1
	if testkit.Soak() {
		hours, replaced = 30, 2
	}
	bundles := map[string]bool{}
	for hour := range hours {
		if hour%15 == 14 {
			cluster.set(func() { cluster.skew = -cluster.skew })
		}
		synctest.Wait()
		served, err := source.GetCertificate(nil)
		require.NoError(t, err)
		trusted := cluster.published()
		require.NoError(t, trusted.Verify(served.Leaf, testName, time.Now().Add(c.verifier)), "after %d h", hour)
		bundles[string(trusted.PEM())] = true
		time.Sleep(time.Hour)
	}
	require.Greater(t, len(bundles), replaced, "how often the CA was replaced")
}
