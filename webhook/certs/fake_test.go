package certs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// fakeCluster is a cluster in memory whose parts notice changes late, as real ones do: API servers see a caBundle after
// apiLag, replica i serves a leaf after its replicaLag.
type fakeCluster struct {
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
	// verified is when a bundle and a certificate were last verified: that they still fit is checked once a minute.
	verified map[string]time.Time
	// unreachable replicas do not answer.
	unreachable bool
	// mounted, if set, is called with the serving Secret after each change of its certificate.
	mounted func(data map[string][]byte)
}

// change is a value and since when it holds.
type change struct {
	at    time.Time
	value []byte
}

func newFakeCluster(apiLag time.Duration, replicaLags ...time.Duration) *fakeCluster {
	f := &fakeCluster{apiLag: apiLag, replicaLags: replicaLags, watchers: map[int]func(){}, verified: map[string]time.Time{}}
	f.snapshot = Snapshot{
		CA: Secret{Version: "0"}, Serving: Secret{Version: "0"},
		Published: Published{Version: "0", Names: []string{"a", "b"}, Bundles: [][]byte{nil, nil}},
	}
	return f
}

// set changes the fake while a rotator runs.
func (f *fakeCluster) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// now is wall-clock time; skew is how long the machine was suspended.
func (f *fakeCluster) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.skew)
}

func (f *fakeCluster) failing(operation string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(operation)
}

func (f *fakeCluster) Read(context.Context) (Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.snapshot
	s.CA.Data, s.Serving.Data = maps.Clone(s.CA.Data), maps.Clone(s.Serving.Data)
	s.Published.Bundles = slices.Clone(s.Published.Bundles)
	return s, f.failing("read")
}

func (f *fakeCluster) WriteCA(_ context.Context, version string, data map[string][]byte) error {
	return f.writeSecret("CA", &f.snapshot.CA, version, data)
}

func (f *fakeCluster) WriteServing(_ context.Context, version string, data map[string][]byte) error {
	return f.writeSecret("serving", &f.snapshot.Serving, version, data)
}

func (f *fakeCluster) writeSecret(what string, into *Secret, version string, data map[string][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failing(what); err != nil {
		return err
	}
	if version != into.Version {
		return fmt.Errorf("%s: %w", what, ErrConflict)
	}
	merged := map[string][]byte{}
	maps.Copy(merged, into.Data)
	maps.Copy(merged, data)
	f.version++
	*into = Secret{Version: strconv.Itoa(f.version), Data: merged}
	f.writes = append(f.writes, what)
	if what == "serving" && data[CertKey] != nil {
		f.leaves = append(f.leaves, change{time.Now().Add(f.skew), data[CertKey]})
		if f.mounted != nil {
			f.mounted(merged)
		}
	}
	return nil
}

func (f *fakeCluster) WriteBundle(_ context.Context, into Published, bundle []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failing("bundle"); err != nil {
		return err
	}
	if into.Version != f.snapshot.Published.Version {
		return fmt.Errorf("bundle: %w", ErrConflict)
	}
	f.writes = append(f.writes, "bundle")
	f.setBundle(bundle)
	return nil
}

// overwrite puts something else into the caBundle.
func (f *fakeCluster) overwrite(bundle []byte) { f.set(func() { f.setBundle(bundle) }) }

func (f *fakeCluster) setBundle(bundle []byte) {
	f.version++
	f.snapshot.Published.Version = strconv.Itoa(f.version)
	f.snapshot.Published.Bundles = [][]byte{bundle, bundle}
	f.bundles = append(f.bundles, change{time.Now().Add(f.skew), bundle})
	for _, changed := range f.watchers {
		changed()
	}
}

func (f *fakeCluster) Watch(ctx context.Context, changed func()) {
	var id int
	f.set(func() { f.watched++; id = f.watched; f.watchers[id] = changed })
	<-ctx.Done()
	f.set(func() { delete(f.watchers, id) })
}

func (f *fakeCluster) Confirm(_ context.Context, trusted pki.Bundle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unreachable {
		return errors.New("connection refused")
	}
	return f.accepted(trusted.PEM(), time.Now().Add(f.skew))
}

// accepted returns nil if a client that trusts the PEM bundle accepts every replica.
func (f *fakeCluster) accepted(bundle []byte, now time.Time) error {
	for i, lag := range f.replicaLags {
		served := valueAt(f.leaves, now.Add(-lag))
		pair := string(bundle) + string(served)
		if since := now.Sub(f.verified[pair]); 0 <= since && since < time.Minute {
			continue
		}
		trusted, err := pki.ParseBundle(bundle)
		if err != nil {
			return err
		}
		chain, err := pki.ParseBundle(served)
		if err != nil || len(chain) == 0 {
			return fmt.Errorf("replica %d has no certificate: %w", i, err)
		}
		if err := trusted.Verify(chain[0], testName, now); err != nil {
			return fmt.Errorf("replica %d: %w", i, err)
		}
		f.verified[pair] = now
	}
	return nil
}

// handshakes returns nil if every API server accepts every replica: those that see the bundle at once and those that see
// it late.
func (f *fakeCluster) handshakes() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Add(f.skew)
	for _, lag := range []time.Duration{0, f.apiLag} {
		if err := f.accepted(valueAt(f.bundles, now.Add(-lag)), now); err != nil {
			return fmt.Errorf("an API server that is %s late refuses %w", lag, err)
		}
	}
	return nil
}

// valueAt is the newest value at that time; the first one counts as there from the beginning (a pod starts with what is
// in the Secret).
func valueAt(changes []change, at time.Time) []byte {
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

func (f *fakeCluster) takeWrites() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes := f.writes
	f.writes = nil
	return writes
}

// published are the CAs in the caBundle.
func (f *fakeCluster) published() pki.Bundle {
	f.mu.Lock()
	defer f.mu.Unlock()
	bundle, _ := pki.ParseBundle(f.snapshot.Published.Bundles[0])
	return bundle
}
