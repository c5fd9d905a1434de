package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

// off are the clocks of a cluster: by how much each is wrong.
type off struct{ issuer, server, verifier time.Duration }

func (o off) String() string {
	return fmt.Sprintf("issuer %+.0f h, server %+.0f h, verifier %+.0f h", o.issuer.Hours(), o.server.Hours(), o.verifier.Hours())
}

// everyClock is all clocks right, and each way in which each is as wrong as it may be. What lies between is accepted if
// these are, as a certificate's lifetime has no gap.
func everyClock() []off {
	all := []off{{}}
	wrong := []time.Duration{-pki.ClockError, pki.ClockError}
	for _, issuer := range wrong {
		for _, server := range wrong {
			for _, verifier := range wrong {
				all = append(all, off{issuer, server, verifier})
			}
		}
	}
	return all
}

// The verifier accepts what is served in every handshake of 30 hours, in which certificate and CA are replaced several
// times: from the first certificate on, whichever of the three clocks are two hours off, and also when the
// process that issues moves to a node whose clock is wrong in the other direction.
func TestEveryClockAcceptsWhatIsServed(t *testing.T) {
	for _, clocks := range everyClock() {
		t.Run(clocks.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startClocked(t, clocks)
				roots := map[string]bool{}
				for hour := range 30 {
					if hour%15 == 14 {
						c.issuer.Store(-c.issuer.Load())
					}
					require.NoError(t, c.handshake(t), "after %d h", hour)
					roots[string(c.memory.published())] = true
					time.Sleep(time.Hour)
				}
				require.GreaterOrEqual(t, len(roots), 3, "the CA was replaced")
			})
		})
	}
}

// cert-manager's certificates begin when they are issued. A renewal waits until every verifier finds it valid.
func TestARenewalThatBeginsNowWaitsForOtherClocks(t *testing.T) {
	for _, clocks := range everyClock() {
		t.Run(clocks.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMount(t)
				authority := newAuthority(t, time.Now())
				install := func(life time.Duration) {
					leaf := beginsNow(t, authority, time.Now().Add(clocks.issuer), life)
					m.swap(t, leaf.CertPEM, leaf.KeyPEM)
				}
				install(24 * time.Hour)
				source := serve(t, m, func() time.Time { return time.Now().Add(clocks.server) })
				time.Sleep(2 * 2 * pki.ClockError) // the first is all there is, and serves at once
				roots := pki.Bundle{authority.Certificate}
				first := serial(t, source)
				require.NoError(t, handshakeAt(t, source, roots, time.Now().Add(clocks.verifier)))

				install(24 * time.Hour)
				for range 2 * 9 {
					require.NoError(t, handshakeAt(t, source, roots, time.Now().Add(clocks.verifier)), "at %s", time.Now())
					time.Sleep(30 * time.Minute)
				}
				require.NotEqual(t, first, serial(t, source), "renewed")
			})
		})
	}
}

func TestChangeover(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	one, other := newAuthority(t, now), newAuthority(t, now)
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

// beginsNow is a certificate as cert-manager issues it: without a backdate.
func beginsNow(t *testing.T, authority *pki.Pair, now time.Time, life time.Duration) *pki.Pair {
	t.Helper()
	backdate := now.Sub(issue(t, authority, now).Certificate.NotBefore)
	leaf, err := pki.IssueLeaf(authority, name, now.Add(backdate), life-backdate)
	require.NoError(t, err)
	return leaf
}

// serve starts a source over the mount until the test ends.
func serve(t *testing.T, m *mount, now func() time.Time) *FileSource {
	t.Helper()
	source := newFileSource(m.dir+"/tls.crt", m.dir+"/tls.key", 10*time.Minute, now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = source.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return source
}

// handshakeAt is a TLS handshake with a client whose clock shows now.
func handshakeAt(t *testing.T, source Source, roots pki.Bundle, now time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	near, far := net.Pipe()
	require.NoError(t, near.SetDeadline(time.Now().Add(time.Second))) // a pipe has no buffer: an alert would wait for ever
	server := tls.Server(far, &tls.Config{GetCertificate: source.GetCertificate, MinVersion: tls.VersionTLS13})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Handshake(); _ = far.Close() })
	defer serving.Wait()
	defer func() { _ = near.Close() }()
	return tls.Client(near, &tls.Config{
		RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS13, Time: func() time.Time { return now },
	}).Handshake()
}

// clocked is a rotation, a server and a verifier, each with a clock of its own.
type clocked struct {
	clocks off
	// issuer is by how much the issuer's clock is wrong now.
	issuer atomic.Int64
	source *FileSource
	memory *memory
}

func startClocked(t *testing.T, clocks off) *clocked {
	t.Helper()
	m := newMount(t)
	c := &clocked{clocks: clocks, memory: &memory{mount: m, t: t}}
	c.issuer.Store(int64(clocks.issuer))
	policy := rotation.Policy{DNSName: name, AuthorityLifetime: 15 * time.Hour, LeafLifetime: 13 * time.Hour, Settle: 10 * time.Minute}
	rotator := rotation.New(policy, c.memory, c.memory, func() time.Time { return time.Now().Add(time.Duration(c.issuer.Load())) },
		rotation.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = rotator.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	c.source = serve(t, m, func() time.Time { return time.Now().Add(clocks.server) })
	return c
}

func (c *clocked) handshake(t *testing.T) error {
	synctest.Wait()
	roots, err := pki.ParseBundle(c.memory.published())
	require.NoError(t, err)
	return handshakeAt(t, c.source, roots, time.Now().Add(c.clocks.verifier))
}

// memory is the objects of the cluster; what is in the serving Secret is mounted at once.
type memory struct {
	t     *testing.T
	mount *mount

	mu                 sync.Mutex
	authority, serving map[string][]byte
	bundle             []byte
}

func (m *memory) published() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bundle
}

func (m *memory) Read(context.Context) (rotation.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return rotation.Snapshot{
		Authority: rotation.Secret{Data: m.authority}, Serving: rotation.Secret{Data: m.serving},
		Webhooks: rotation.Webhooks{Names: []string{"one"}, Bundles: [][]byte{m.bundle}},
	}, nil
}

func (m *memory) WriteAuthority(_ context.Context, _ string, data map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.authority = data
	return nil
}

func (m *memory) WriteServing(_ context.Context, _ string, data map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	merged := maps.Clone(m.serving)
	if merged == nil {
		merged = map[string][]byte{}
	}
	maps.Copy(merged, data)
	if !bytes.Equal(merged[rotation.CertKey], m.serving[rotation.CertKey]) {
		m.mount.swap(m.t, merged[rotation.CertKey], merged[rotation.KeyKey])
	}
	m.serving = merged
	return nil
}

func (m *memory) WriteBundle(_ context.Context, _ rotation.Webhooks, bundle []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bundle = bundle
	return nil
}

func (m *memory) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

func (m *memory) Confirm(context.Context, pki.Bundle) error { return nil }
