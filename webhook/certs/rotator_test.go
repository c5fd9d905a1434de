package certs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// short are lifetimes with which a few hours hold many rotations.
func short() Policy {
	return Policy{DNSName: testName, CALifetime: 3 * time.Hour, LeafLifetime: time.Hour, Settle: 30 * time.Second}
}

// startRotator runs one until the returned function is called.
func startRotator(t *testing.T, policy Policy, cluster *fakeCluster) (*Rotator, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := New(policy, cluster, cluster, cluster.now, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	return r, func() { cancel(); running.Wait() }
}

func TestFirstInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(0, 0, 0)
		_, stop := startRotator(t, short(), cluster)
		defer stop()
		synctest.Wait()
		require.Equal(t, []string{"CA", "bundle", "serving"}, cluster.takeWrites())
		require.NoError(t, cluster.handshakes())

		time.Sleep(30 * time.Minute)
		require.Empty(t, cluster.takeWrites(), "what is in order is left alone")
	})
}

// Five hours of rotations: no API server ever refuses a replica, and the old CA is gone in the end, although each side
// notices late and the process is stopped and started at every point of the sequence.
func TestNoHandshakeFailsWhileRotating(t *testing.T) {
	for name, restart := range map[string]time.Duration{"undisturbed": 24 * time.Hour, "restarted every 47 s": 47 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cluster := newFakeCluster(25*time.Second, 0, 60*time.Second, 90*time.Second)
				_, stop := startRotator(t, short(), cluster)
				next, cas := time.Now().Add(restart), 0
				for range int(5 * time.Hour / (10 * time.Second)) {
					time.Sleep(10 * time.Second)
					synctest.Wait()
					require.NoError(t, cluster.handshakes(), "at %s", time.Now())
					if time.Now().After(next) {
						stop()
						_, stop = startRotator(t, short(), cluster)
						next = time.Now().Add(restart)
					}
				}
				stop()
				for _, write := range cluster.takeWrites() {
					if write == "CA" {
						cas++
					}
				}
				require.InDelta(t, 3, cas, 1, "one every two hours")
				require.LessOrEqual(t, len(cluster.published()), 2)
			})
		})
	}
}

func TestOrderOfARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(0, 70*time.Second)
		_, stop := startRotator(t, short(), cluster)
		defer stop()
		time.Sleep(time.Hour + 59*time.Minute)
		synctest.Wait()
		cluster.takeWrites()

		time.Sleep(150 * time.Second) // the CA becomes due; the bundle settles
		synctest.Wait()
		require.Equal(t, []string{"CA", "bundle", "serving"}, cluster.takeWrites())
		require.Len(t, cluster.published(), 2, "the replica is late")

		time.Sleep(3 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"serving", "bundle"}, cluster.takeWrites())
		require.Len(t, cluster.published(), 1)
	})
}

func TestOldCAStaysWhileAReplicaIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(0, 0)
		_, stop := startRotator(t, short(), cluster)
		defer stop()
		time.Sleep(time.Minute)
		cluster.set(func() { cluster.unreachable = true })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Len(t, cluster.published(), 2)
		cluster.set(func() { cluster.unreachable = false })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, cluster.published(), 1)
	})
}

func TestOverwrittenBundleIsRepairedWithinSeconds(t *testing.T) {
	for name, bundle := range map[string][]byte{"emptied": nil, "garbage": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newFakeCluster(0, 0)
				_, stop := startRotator(t, short(), cluster)
				defer stop()
				time.Sleep(7 * time.Minute)
				cluster.overwrite(bundle)
				require.Error(t, cluster.handshakes())
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.NoError(t, cluster.handshakes())
			})
		})
	}
}

// Someone who undoes every write costs a write a second, not a busy loop.
func TestAFightOverTheBundleIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(0, 0)
		_, stop := startRotator(t, short(), cluster)
		defer stop()
		time.Sleep(time.Minute)
		cluster.takeWrites()
		for range 600 {
			cluster.overwrite(nil)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, len(cluster.takeWrites()), 60+2, "the first at once, and one at the very end")
	})
}

// While a machine is suspended no timer runs, but certificates expire.
func TestWakingAfterEverythingExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(0, 0)
		_, stop := startRotator(t, short(), cluster)
		defer stop()
		time.Sleep(time.Minute)
		cluster.set(func() { cluster.skew += 48 * time.Hour })
		require.Error(t, cluster.handshakes())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, cluster.handshakes())
	})
}

func TestConflictsAndFailuresAreTriedAgain(t *testing.T) {
	for name, failure := range map[string]error{"conflict": ErrConflict, "server error": errors.New("etcd is gone")} {
		for _, operation := range []string{"read", "CA", "bundle", "serving"} {
			t.Run(name+" on "+operation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cluster, failures := newFakeCluster(0, 0), 0
					cluster.fault = func(o string) error {
						if o != operation || failures == 5 {
							return nil
						}
						failures++
						return failure
					}
					r, stop := startRotator(t, short(), cluster)
					defer stop()
					time.Sleep(3 * time.Minute)
					synctest.Wait()
					require.Equal(t, 5, failures)
					require.NoError(t, cluster.handshakes())
					require.NoError(t, r.Succeeded(time.Minute))
					if !errors.Is(failure, ErrConflict) {
						require.InDelta(t, 5, testutil.ToFloat64(r.metrics.errors), 0)
					}
				})
			})
		}
	}
}

func TestAnAPIServerThatIsGoneForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, reads := newFakeCluster(0, 0), 0
		cluster.fault = func(string) error { reads++; return errors.New("gone") }
		r, stop := startRotator(t, short(), cluster)
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Less(t, reads, 30, "the pace slows down")
		require.Error(t, r.Succeeded(5*time.Minute))
		require.NoError(t, r.Tried(5*time.Minute))
	})
}

// Two processes by accident: the resourceVersions keep them in order.
func TestTwoRotatorsDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newFakeCluster(10*time.Second, 0, 60*time.Second)
		_, stopFirst := startRotator(t, short(), cluster)
		defer stopFirst()
		_, stopSecond := startRotator(t, short(), cluster)
		defer stopSecond()
		time.Sleep(10 * time.Second)
		for range int(3 * time.Hour / (10 * time.Second)) {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.NoError(t, cluster.handshakes(), "at %s", time.Now())
		}
	})
}
