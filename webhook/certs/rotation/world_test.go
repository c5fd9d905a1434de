package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// world is a cluster in memory whose parts notice changes late, as real ones
// do: API servers see a caBundle after apiLag, replica i serves a leaf after
// its replicaLag.
type world struct {
	apiLag      time.Duration
	replicaLags []time.Duration

	mu       sync.Mutex
	skew     time.Duration
	version  int
	snapshot Snapshot
	bundles  []change
	leaves   []change
	writes   []string
	fault    func(operation string) error
	watchers map[int]func()
	watched  int
	// unreachable replicas do not answer.
	unreachable bool
}

// change is a value and since when it stands.
type change struct {
	at    time.Time
	value []byte
}

func newWorld(apiLag time.Duration, replicaLags ...time.Duration) *world {
	w := &world{apiLag: apiLag, replicaLags: replicaLags, watchers: map[int]func(){}}
	w.snapshot = Snapshot{
		Authority: Secret{Version: "0"}, Serving: Secret{Version: "0"},
		Webhooks: Webhooks{Version: "0", Names: []string{"a", "b"}, Bundles: [][]byte{nil, nil}},
	}
	return w
}

// now is wall-clock time; skew is how long the machine was suspended.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.skew)
}

func (w *world) failing(operation string) error {
	if w.fault == nil {
		return nil
	}
	return w.fault(operation)
}

func (w *world) Read(context.Context) (Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing("read"); err != nil {
		return Snapshot{}, err
	}
	s := w.snapshot
	s.Authority.Data, s.Serving.Data = maps.Clone(s.Authority.Data), maps.Clone(s.Serving.Data)
	s.Webhooks.Bundles = append([][]byte(nil), s.Webhooks.Bundles...)
	return s, nil
}

func (w *world) WriteAuthority(_ context.Context, version string, data map[string][]byte) error {
	return w.writeSecret("authority", &w.snapshot.Authority, version, data)
}

func (w *world) WriteServing(_ context.Context, version string, data map[string][]byte) error {
	return w.writeSecret("serving", &w.snapshot.Serving, version, data)
}

func (w *world) writeSecret(what string, into *Secret, version string, data map[string][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing(what); err != nil {
		return err
	}
	if version != into.Version {
		return fmt.Errorf("%s: %w", what, ErrConflict)
	}
	merged := maps.Clone(into.Data)
	if merged == nil {
		merged = map[string][]byte{}
	}
	maps.Copy(merged, data)
	w.version++
	*into = Secret{Version: strconv.Itoa(w.version), Data: merged}
	w.writes = append(w.writes, what)
	if what == "serving" && data[CertKey] != nil {
		w.leaves = append(w.leaves, change{time.Now().Add(w.skew), data[CertKey]})
	}
	return nil
}

func (w *world) WriteBundle(_ context.Context, webhooks Webhooks, bundle []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing("bundle"); err != nil {
		return err
	}
	if webhooks.Version != w.snapshot.Webhooks.Version {
		return fmt.Errorf("bundle: %w", ErrConflict)
	}
	w.writes = append(w.writes, "bundle")
	w.setBundle(bundle)
	return nil
}

// vandalise puts something else into the caBundle.
func (w *world) vandalise(bundle []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setBundle(bundle)
}

func (w *world) setBundle(bundle []byte) {
	w.version++
	w.snapshot.Webhooks.Version = strconv.Itoa(w.version)
	w.snapshot.Webhooks.Bundles = [][]byte{bundle, bundle}
	w.bundles = append(w.bundles, change{time.Now().Add(w.skew), bundle})
	for _, changed := range w.watchers {
		changed()
	}
}

func (w *world) Watch(ctx context.Context, changed func()) {
	w.mu.Lock()
	w.watched++
	id := w.watched
	w.watchers[id] = changed
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	delete(w.watchers, id)
	w.mu.Unlock()
}

func (w *world) Confirm(_ context.Context, trusted pki.Bundle) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unreachable {
		return errors.New("connection refused")
	}
	now := time.Now().Add(w.skew)
	for i := range w.replicaLags {
		if err := verify(trusted, w.served(i, now), now); err != nil {
			return fmt.Errorf("replica %d: %w", i, err)
		}
	}
	return nil
}

// served is the PEM leaf that a replica shows.
func (w *world) served(replica int, now time.Time) []byte {
	return standing(w.leaves, now.Add(-w.replicaLags[replica]))
}

// handshakes is nil when every API server would accept every replica: both as
// they are, each late in its own way.
func (w *world) handshakes() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().Add(w.skew)
	for _, lag := range []time.Duration{0, w.apiLag} {
		bundle, err := pki.ParseBundle(standing(w.bundles, now.Add(-lag)))
		if err != nil {
			return err
		}
		for i := range w.replicaLags {
			if err := verify(bundle, w.served(i, now), now); err != nil {
				return fmt.Errorf("an API server %s late refuses replica %d: %w", lag, i, err)
			}
		}
	}
	return nil
}

func verify(bundle pki.Bundle, leafPEM []byte, now time.Time) error {
	chain, err := pki.ParseBundle(leafPEM)
	if err != nil || len(chain) == 0 {
		return fmt.Errorf("no certificate: %w", err)
	}
	return bundle.Verify(chain[0], testName, now)
}

// standing is the newest value that stood at that time; the first one counts
// as there from the beginning (a pod starts with what is in the Secret).
func standing(changes []change, at time.Time) []byte {
	if len(changes) == 0 {
		return nil
	}
	value := changes[0].value
	for _, c := range changes {
		if !c.at.After(at) {
			value = c.value
		}
	}
	return value
}

func (w *world) takeWrites() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	writes := w.writes
	w.writes = nil
	return writes
}

// published are the authorities in the caBundle.
func (w *world) published() pki.Bundle {
	w.mu.Lock()
	defer w.mu.Unlock()
	bundle, _ := pki.ParseBundle(w.snapshot.Webhooks.Bundles[0])
	return bundle
}

func (w *world) suspend(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skew += d
}

func (w *world) setFault(fault func(string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

func (w *world) setUnreachable(unreachable bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unreachable = unreachable
}
