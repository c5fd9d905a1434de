package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

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
	old, ca := newCA(t, name, time.Now()), newCA(t, name, time.Now())
	port := serve(t, "127.0.0.1:0", leaf(t, ca, name, time.Now()))
	serve(t, "127.0.0.2:"+port, leaf(t, ca, name, time.Now()))
	serve(t, "127.0.0.3:"+port, leaf(t, old, name, time.Now()))

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
			err := replicas.Confirm(t.Context(), pki.Bundle{ca.Certificate})
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}
