package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

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

// unreachable is an API server that does not answer.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// An unreachable API server is logged once, not at each try.
func TestWatchFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		config := &rest.Config{Host: "http://api", Transport: unreachable{}}
		store, err := NewKubeStore(config, Names{WebhookConfiguration: "ours"}, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		tries := 0
		store.Watch(ctx, func() {
			if tries++; tries == 3 {
				stop()
			}
		})
		require.Equal(t, 3, tries)
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
	})
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
