package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

// noReplicas is a Service with nobody behind it.
type noReplicas struct{}

func (noReplicas) Confirm(context.Context, pki.Bundle) error { return errors.New("no replica") }

func newRotator(c *Cluster) *rotation.Rotator {
	policy := rotation.Policy{DNSName: "s.ns.svc", AuthorityLifetime: 3 * time.Hour, LeafLifetime: time.Hour, Settle: time.Second}
	return rotation.New(policy, c, noReplicas{}, time.Now, rotation.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
}

// serve shows the pair on the address until the test ends.
func serve(t *testing.T, address string, pair *pki.Pair) (port string) {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	listener, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_ = conn.(*tls.Conn).HandshakeContext(t.Context())
				_ = conn.Close()
			})
		}
	})
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func TestConfirmAsksEveryReplica(t *testing.T) {
	const name = "s.ns.svc"
	pairs := map[string]*pki.Pair{}
	authorities := map[string]*pki.Pair{}
	for _, age := range []string{"old", "new"} {
		authority, err := pki.NewAuthority(name, time.Now(), time.Hour)
		require.NoError(t, err)
		leaf, err := pki.IssueLeaf(authority, name, time.Now(), time.Hour)
		require.NoError(t, err)
		authorities[age], pairs[age] = authority, leaf
	}
	port := serve(t, "127.0.0.1:0", pairs["new"])
	serve(t, "127.0.0.2:"+port, pairs["new"])
	serve(t, "127.0.0.3:"+port, pairs["old"])

	for name, c := range map[string]struct {
		addresses []string
		lookup    error
		err       string
	}{
		"all new":             {[]string{"127.0.0.1", "127.0.0.2"}, nil, ""},
		"one old":             {[]string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}, nil, "replica 127.0.0.3: tls: failed to verify"},
		"one does not answer": {[]string{"127.0.0.1", "127.0.0.9"}, nil, "replica 127.0.0.9"},
		"none":                {nil, nil, "no address"},
		"no DNS":              {nil, errors.New("no such host"), "no such host"},
	} {
		t.Run(name, func(t *testing.T) {
			replicas := Replicas{
				Lookup:     func(context.Context, string) ([]string, error) { return c.addresses, c.lookup },
				Host:       "headless.ns.svc",
				Port:       port,
				ServerName: "s.ns.svc",
			}
			err := replicas.Confirm(t.Context(), pki.Bundle{authorities["new"].Certificate})
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}

func TestFollowReadsEvents(t *testing.T) {
	for name, c := range map[string]struct {
		stream  string
		changes int
		err     string
	}{
		"two events":   {`{"type":"ADDED","object":{}}{"type":"MODIFIED","object":{}}`, 2, ""},
		"the end":      {``, 0, ""},
		"error":        {`{"type":"ADDED"}{"type":"ERROR","object":{"code":410}}`, 1, "410"},
		"cut off":      {`{"type":"ADDED"}{"ty`, 1, "unexpected EOF"},
		"not an event": {`nonsense`, 0, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			changes := 0
			err := follow(strings.NewReader(c.stream), func() { changes++ })
			require.Equal(t, c.changes, changes)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}
