package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
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
	"kubevirt-hypervisor-exporter/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "webhook.ns.svc"

// volume is a folder with a certificate, as the kubelet mounts a Secret.
type volume string

func newVolume(t *testing.T) volume { return volume(t.TempDir()) }

func (v volume) publish(t *testing.T, cert, key []byte) {
	t.Helper()
	require.NoError(t, testkit.PublishVolume(string(v), map[string][]byte{"tls.crt": cert, "tls.key": key}))
}

func (v volume) source(log io.Writer, poll time.Duration, now func() time.Time) *FileSource {
	logger := slog.New(slog.NewTextHandler(log, nil))
	return NewFileSource(filepath.Join(string(v), "tls.crt"), filepath.Join(string(v), "tls.key"), poll, now, logger)
}

func issue(t *testing.T, ca *pki.Pair, now time.Time) *pki.Pair {
	t.Helper()
	leaf, err := pki.IssueLeaf(ca, name, now, time.Hour)
	require.NoError(t, err)
	return leaf
}

func newCA(t *testing.T, now time.Time) *pki.Pair {
	t.Helper()
	ca, err := pki.NewCA(name, now, 100*24*time.Hour)
	require.NoError(t, err)
	return ca
}

func serial(t *testing.T, s *FileSource) string {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	require.NoError(t, err)
	return cert.Leaf.SerialNumber.String()
}

func TestFileSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, log := newVolume(t), &bytes.Buffer{}
		source := v.source(log, DefaultPoll, time.Now)
		_, err := source.GetCertificate(nil)
		require.ErrorContains(t, err, "tls.crt")
		require.Error(t, source.Healthy())
		require.Zero(t, testutil.CollectAndCount(NewCollector("end", source)), "no certificate, no series")

		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = source.Run(ctx) })
		defer running.Wait()
		defer cancel()
		tick := func() { time.Sleep(2 * DefaultPoll); synctest.Wait() }

		ca := newCA(t, time.Now())
		first := issue(t, ca, time.Now())
		v.publish(t, first.CertPEM, first.KeyPEM)
		tick()
		require.NoError(t, source.Healthy())
		require.Equal(t, first.Certificate.SerialNumber.String(), serial(t, source))
		require.InDelta(t, float64(first.Certificate.NotAfter.Unix()), testutil.ToFloat64(NewCollector("end", source)), 0)

		second := issue(t, ca, time.Now())
		for name, broken := range map[string][2][]byte{
			"key of another": {second.CertPEM, first.KeyPEM},
			"emptied":        {nil, nil},
			"cut off":        {second.CertPEM[:100], second.KeyPEM},
			"expired": func() [2][]byte {
				p := issue(t, ca, time.Now().Add(-2*time.Hour))
				return [2][]byte{p.CertPEM, p.KeyPEM}
			}(),
		} {
			log.Reset()
			v.publish(t, broken[0], broken[1])
			tick()
			tick()
			require.Equal(t, first.Certificate.SerialNumber.String(), serial(t, source), name)
			require.Equal(t, 1, strings.Count(log.String(), "not loaded"), "%s is logged once: %s", name, log)
		}

		log.Reset()
		v.publish(t, second.CertPEM, second.KeyPEM)
		tick()
		require.Equal(t, second.Certificate.SerialNumber.String(), serial(t, source))
		require.Equal(t, 1, strings.Count(log.String(), "loaded"))

		time.Sleep(2 * time.Hour)
		require.ErrorContains(t, source.Healthy(), "valid from")
		require.Equal(t, second.Certificate.SerialNumber.String(), serial(t, source), "an expired one is still better than none")
	})
}

// A program that waits for its certificate answers the kubelet's probes, and serves the certificate once it is there.
func TestProvisional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, ca := newVolume(t), newCA(t, time.Now())
		source := v.source(io.Discard, DefaultPoll, time.Now)
		get, err := WithProvisional(source)
		require.NoError(t, err)
		provisional, err := get(nil)
		require.NoError(t, err)
		require.Equal(t, []string{"provisional.invalid"}, provisional.Leaf.PermittedDNSDomains)
		require.Error(t, source.Healthy(), "alive, not ready")
		require.Zero(t, testutil.CollectAndCount(NewCollector("end", source)))

		leaf := issue(t, ca, time.Now())
		v.publish(t, leaf.CertPEM, leaf.KeyPEM)
		source.load()
		served, err := get(nil)
		require.NoError(t, err)
		require.True(t, served.Leaf.Equal(leaf.Certificate))
	})
}

// Handshakes go on without a break while the files are swapped under them.
func TestSwapUnderHandshakes(t *testing.T) {
	v, now := newVolume(t), time.Now()
	ca := newCA(t, now)
	leaf := issue(t, ca, now)
	v.publish(t, leaf.CertPEM, leaf.KeyPEM)
	source := v.source(io.Discard, time.Millisecond, time.Now)
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
	roots.AddCert(ca.Certificate)
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
		leaf := issue(t, ca, now)
		want := leaf.Certificate.SerialNumber.String()
		v.publish(t, leaf.CertPEM, leaf.KeyPEM)
		testkit.Eventually(t, func() error {
			if _, ok := seen.Load(want); !ok && len(failures) == 0 {
				return fmt.Errorf("certificate %s is not served", want)
			}
			return nil
		})
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
