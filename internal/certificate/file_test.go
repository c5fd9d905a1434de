package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "webhook.ns.svc"

// mount is a folder as the kubelet mounts a Secret: the files are links into
// ..data, which is a link to a folder that is swapped whole.
type mount struct {
	dir   string
	count int
}

func newMount(t *testing.T) *mount {
	m := &mount{dir: t.TempDir()}
	for _, file := range []string{"tls.crt", "tls.key"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", file), filepath.Join(m.dir, file)))
	}
	return m
}

// swap is what the kubelet's AtomicWriter does.
func (m *mount) swap(t *testing.T, cert, key []byte) {
	t.Helper()
	m.count++
	data := "..generation" + strconv.Itoa(m.count)
	require.NoError(t, os.Mkdir(filepath.Join(m.dir, data), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, data, "tls.crt"), cert, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, data, "tls.key"), key, 0o600))
	require.NoError(t, os.Symlink(data, filepath.Join(m.dir, "..tmp")))
	require.NoError(t, os.Rename(filepath.Join(m.dir, "..tmp"), filepath.Join(m.dir, "..data")))
}

func (m *mount) source(log *bytes.Buffer, poll time.Duration) *FileSource {
	return NewFileSource(filepath.Join(m.dir, "tls.crt"), filepath.Join(m.dir, "tls.key"), poll,
		slog.New(slog.NewTextHandler(log, nil)))
}

func issue(t *testing.T, authority *pki.Pair, now time.Time) *pki.Pair {
	t.Helper()
	leaf, err := pki.IssueLeaf(authority, name, now, time.Hour)
	require.NoError(t, err)
	return leaf
}

func newAuthority(t *testing.T, now time.Time) *pki.Pair {
	t.Helper()
	authority, err := pki.NewAuthority(name, now, 100*24*time.Hour)
	require.NoError(t, err)
	return authority
}

func serial(t *testing.T, s *FileSource) string {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	require.NoError(t, err)
	return cert.Leaf.SerialNumber.String()
}

func TestFileSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := newMount(t), &bytes.Buffer{}
		source := m.source(log, DefaultPoll)
		_, err := source.GetCertificate(nil)
		require.ErrorContains(t, err, "tls.crt")
		require.Error(t, source.Healthy())
		require.Zero(t, testutil.CollectAndCount(NewCollector(source)), "no certificate, no series")

		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = source.Run(ctx) })
		defer running.Wait()
		defer cancel()
		tick := func() { time.Sleep(2 * DefaultPoll); synctest.Wait() }

		authority := newAuthority(t, time.Now())
		first := issue(t, authority, time.Now())
		m.swap(t, first.CertPEM, first.KeyPEM)
		tick()
		require.NoError(t, source.Healthy())
		require.Equal(t, first.Certificate.SerialNumber.String(), serial(t, source))
		require.InDelta(t, float64(first.Certificate.NotAfter.Unix()), testutil.ToFloat64(NewCollector(source)), 0)

		second := issue(t, authority, time.Now())
		for name, broken := range map[string][2][]byte{
			"key of another": {second.CertPEM, first.KeyPEM},
			"emptied":        {nil, nil},
			"cut off":        {second.CertPEM[:100], second.KeyPEM},
			"expired": func() [2][]byte {
				p := issue(t, authority, time.Now().Add(-2*time.Hour))
				return [2][]byte{p.CertPEM, p.KeyPEM}
			}(),
		} {
			log.Reset()
			m.swap(t, broken[0], broken[1])
			tick()
			tick()
			require.Equal(t, first.Certificate.SerialNumber.String(), serial(t, source), name)
			require.Equal(t, 1, strings.Count(log.String(), "not taken over"), "%s is logged once: %s", name, log)
		}

		log.Reset()
		m.swap(t, second.CertPEM, second.KeyPEM)
		tick()
		require.Equal(t, second.Certificate.SerialNumber.String(), serial(t, source))
		require.Equal(t, 1, strings.Count(log.String(), "loaded"))

		time.Sleep(2 * time.Hour)
		require.ErrorContains(t, source.Healthy(), "valid from")
		require.Equal(t, second.Certificate.SerialNumber.String(), serial(t, source), "an expired one is still better than none")
	})
}

// Handshakes go on without a break while the files are swapped under them.
func TestSwapUnderHandshakes(t *testing.T) {
	m, now := newMount(t), time.Now()
	authority := newAuthority(t, now)
	leaf := issue(t, authority, now)
	m.swap(t, leaf.CertPEM, leaf.KeyPEM)
	source := m.source(&bytes.Buffer{}, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = source.Run(ctx) })

	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: source.GetCertificate, MinVersion: tls.VersionTLS13})
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	running.Go(func() { greet(listener) })

	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	config := &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS13}
	var done atomic.Bool
	var seen sync.Map
	var clients sync.WaitGroup
	failures := make(chan error, 8)
	for range 4 {
		clients.Go(func() {
			for !done.Load() {
				serial, err := handshake(listener.Addr().String(), config)
				if err != nil {
					failures <- err
					return
				}
				seen.Store(serial, true)
			}
		})
	}
	for range 50 {
		leaf := issue(t, authority, now)
		want := leaf.Certificate.SerialNumber.String()
		m.swap(t, leaf.CertPEM, leaf.KeyPEM)
		require.Eventually(t, func() bool { _, ok := seen.Load(want); return ok || len(failures) > 0 }, 10*time.Second, time.Millisecond)
	}
	done.Store(true)
	clients.Wait()
	require.Empty(t, failures)
}

func greet(listener net.Listener) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			_, _ = conn.Write([]byte("x"))
			_ = conn.Close()
		})
	}
}

func handshake(address string, config *tls.Config) (string, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, config)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), err
}
