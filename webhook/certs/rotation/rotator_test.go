package rotation

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
	return Policy{DNSName: testName, AuthorityLifetime: 3 * time.Hour, LeafLifetime: time.Hour, Settle: 30 * time.Second}
}

// startRotator runs one until the returned function is called.
func startRotator(t *testing.T, policy Policy, w *world) (*Rotator, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := New(policy, w, w, w.now, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	return r, func() { cancel(); running.Wait() }
}

func TestFirstInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 0, 0)
		_, stop := startRotator(t, short(), w)
		defer stop()
		synctest.Wait()
		require.Equal(t, []string{"authority", "bundle", "serving"}, w.takeWrites())
		require.NoError(t, w.handshakes())

		time.Sleep(30 * time.Minute)
		require.Empty(t, w.takeWrites(), "what is in order is left alone")
	})
}

// Nine hours of rotations: no API server ever refuses a replica, and the old
// authority is gone in the end, although each side notices late and the
// process is stopped and started at every point of the sequence.
func TestNoHandshakeFailsWhileRotating(t *testing.T) {
	for name, restart := range map[string]time.Duration{"undisturbed": 24 * time.Hour, "restarted every 47 s": 47 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(25*time.Second, 0, 60*time.Second, 90*time.Second)
				_, stop := startRotator(t, short(), w)
				next, authorities := time.Now().Add(restart), 0
				for range int(9 * time.Hour / (10 * time.Second)) {
					time.Sleep(10 * time.Second)
					synctest.Wait()
					require.NoError(t, w.handshakes(), "at %s", time.Now())
					if time.Now().After(next) {
						stop()
						_, stop = startRotator(t, short(), w)
						next = time.Now().Add(restart)
					}
				}
				stop()
				for _, write := range w.takeWrites() {
					if write == "authority" {
						authorities++
					}
				}
				require.InDelta(t, 5, authorities, 1, "one every two hours")
				require.LessOrEqual(t, len(w.published()), 2)
			})
		})
	}
}

func TestOrderOfARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 70*time.Second)
		_, stop := startRotator(t, short(), w)
		defer stop()
		time.Sleep(time.Hour + 59*time.Minute)
		synctest.Wait()
		w.takeWrites()

		time.Sleep(150 * time.Second) // the authority becomes due; the bundle settles
		synctest.Wait()
		require.Equal(t, []string{"authority", "bundle", "serving"}, w.takeWrites())
		require.Len(t, w.published(), 2, "the replica is late")

		time.Sleep(3 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"serving", "bundle"}, w.takeWrites())
		require.Len(t, w.published(), 1)
	})
}

func TestOldAuthorityStaysWhileAReplicaIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 0)
		_, stop := startRotator(t, short(), w)
		defer stop()
		time.Sleep(time.Minute)
		w.setUnreachable(true)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Len(t, w.published(), 2)
		w.setUnreachable(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, w.published(), 1)
	})
}

func TestVandalisedBundleIsRepairedWithinSeconds(t *testing.T) {
	for name, bundle := range map[string][]byte{"emptied": nil, "garbage": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(0, 0)
				_, stop := startRotator(t, short(), w)
				defer stop()
				time.Sleep(7 * time.Minute)
				w.vandalise(bundle)
				require.Error(t, w.handshakes())
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.NoError(t, w.handshakes())
			})
		})
	}
}

// Someone who undoes every write costs a write a second, not a busy loop.
func TestAFightOverTheBundleIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 0)
		_, stop := startRotator(t, short(), w)
		defer stop()
		time.Sleep(time.Minute)
		w.takeWrites()
		for range 600 {
			w.vandalise(nil)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, len(w.takeWrites()), 60+2, "the first at once, and one at the very end")
	})
}

// While a machine is suspended no timer runs, but certificates expire.
func TestWakingAfterEverythingExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 0)
		_, stop := startRotator(t, short(), w)
		defer stop()
		time.Sleep(time.Minute)
		w.suspend(48 * time.Hour)
		require.Error(t, w.handshakes())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, w.handshakes())
	})
}

func TestConflictsAndFailuresAreTriedAgain(t *testing.T) {
	for name, failure := range map[string]error{"conflict": ErrConflict, "server error": errors.New("etcd is gone")} {
		for _, operation := range []string{"read", "authority", "bundle", "serving"} {
			t.Run(name+" on "+operation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, failures := newWorld(0, 0), 0
					w.setFault(func(o string) error {
						if o != operation || failures == 5 {
							return nil
						}
						failures++
						return failure
					})
					r, stop := startRotator(t, short(), w)
					defer stop()
					time.Sleep(3 * time.Minute)
					synctest.Wait()
					require.Equal(t, 5, failures)
					require.NoError(t, w.handshakes())
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
		w, reads := newWorld(0, 0), 0
		w.setFault(func(string) error { reads++; return errors.New("gone") })
		r, stop := startRotator(t, short(), w)
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
		w := newWorld(10*time.Second, 0, 60*time.Second)
		_, stopFirst := startRotator(t, short(), w)
		defer stopFirst()
		_, stopSecond := startRotator(t, short(), w)
		defer stopSecond()
		time.Sleep(10 * time.Second)
		for range int(3 * time.Hour / (10 * time.Second)) {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.NoError(t, w.handshakes(), "at %s", time.Now())
		}
	})
}
