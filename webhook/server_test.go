package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testName = "webhook.ns.svc"

// running is a server on ports of its own, with the files it serves from.
type running struct {
	*server
	dir   string
	roots *x509.CertPool
	stop  context.CancelFunc
	ended chan error
}

func startServer(t *testing.T, decide admission.Decider, delay time.Duration) *running {
	t.Helper()
	r := &running{dir: t.TempDir(), roots: x509.NewCertPool(), ended: make(chan error, 1)}
	logger, registry := slog.New(slog.DiscardHandler), newRegistry()
	source := certificate.NewFileSource(filepath.Join(r.dir, "tls.crt"), filepath.Join(r.dir, "tls.key"), 10*time.Millisecond, time.Now, logger)
	registry.MustRegister(certificate.NewCollector(certificateMetric, source))
	r.server = &server{
		source: source, handler: admission.NewHandler(decide, admission.NewMetrics(registry), logger),
		registry: registry, logger: logger, minVersion: tls.VersionTLS13,
		shutdownDelay: delay, shutdownTimeout: 10 * time.Second,
	}
	require.NoError(t, r.listen(addresses{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}))
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.ended <- r.run(ctx) }()
	return r
}

// certify gives the server a certificate that ends after the time.
func (r *running) certify(t *testing.T, lifetime time.Duration) {
	t.Helper()
	authority, err := pki.NewCA(testName, time.Now(), 24*time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, testName, time.Now(), lifetime)
	require.NoError(t, err)
	r.roots.AddCert(authority.Certificate)
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "tls.key"), leaf.KeyPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "tls.crt"), leaf.CertPEM, 0o600))
}

func (r *running) get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + address + path)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func (r *running) readyz(t *testing.T) (int, string) {
	return r.get(t, r.probes.Addr().String(), "/readyz")
}

func (r *running) becomes(t *testing.T, status int) {
	t.Helper()
	require.Eventually(t, func() bool { got, _ := r.readyz(t); return got == status }, 10*time.Second, 5*time.Millisecond)
}

// client speaks as an API server does: HTTP/1.1, kept alive.
func (r *running) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 16,
		TLSClientConfig:     &tls.Config{RootCAs: r.roots, ServerName: testName, MinVersion: tls.VersionTLS12},
	}}
}

const podReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":{}}}`

func (r *running) admit(client *http.Client) error {
	response, err := client.Post("https://"+r.server.admission.Addr().String()+admission.Path, "application/json", strings.NewReader(podReview))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(body, []byte(`"allowed":true`)) {
		err = errors.New(response.Status + ": " + string(body))
	}
	return err
}

func skip(*inject.Pod) inject.Decision { return inject.Decision{Reason: inject.NotVirtLauncher} }

func TestReadinessSaysThatACertificateIsServed(t *testing.T) {
	r := startServer(t, skip, 0)
	status, why := r.readyz(t)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, why, "no serving certificate")
	status, _ = r.get(t, r.probes.Addr().String(), "/healthz")
	require.Equal(t, http.StatusOK, status)

	r.certify(t, time.Hour)
	r.becomes(t, http.StatusOK)
	client := r.client()
	require.NoError(t, r.admit(client))
	client.CloseIdleConnections()
	_, metrics := r.get(t, r.metrics.Addr().String(), "/metrics")
	for _, name := range []string{"admissions_total", "admission_duration_seconds_count", "admissions_in_flight", "panics_total", "certificate_not_after_timestamp_seconds", "build_info"} {
		require.Contains(t, metrics, "hypervisor_exporter_webhook_"+name)
	}
	r.stop()
	require.NoError(t, <-r.ended)
}

func TestAnExpiredCertificateIsNotReady(t *testing.T) {
	r := startServer(t, skip, 0)
	r.certify(t, time.Second)
	r.becomes(t, http.StatusOK)
	r.becomes(t, http.StatusServiceUnavailable)
	_, why := r.readyz(t)
	require.Contains(t, why, "valid from")
	r.stop()
	require.NoError(t, <-r.ended)
}

// A replica ends under load: every admission is answered until the clients
// have been asked to go elsewhere, and the one in flight to its end.
func TestDrainDropsNothing(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	decide := func(pod *inject.Pod) inject.Decision {
		if slow.CompareAndSwap(true, false) {
			close(entered)
			<-release
		}
		return skip(pod)
	}
	r := startServer(t, decide, time.Second)
	r.certify(t, time.Hour)
	r.becomes(t, http.StatusOK)

	client := r.client()
	defer client.CloseIdleConnections()
	var load sync.WaitGroup
	var unready atomic.Bool // what takes a replica out of its Service
	failures := make(chan error, 16)
	var answered atomic.Int64
	for range 8 {
		load.Go(func() {
			for !unready.Load() {
				if err := r.admit(client); err != nil {
					failures <- err
					return
				}
				answered.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 100 }, 10*time.Second, time.Millisecond)
	slow.Store(true)
	<-entered
	r.stop()
	r.becomes(t, http.StatusServiceUnavailable)
	before := answered.Load()
	require.Eventually(t, func() bool { return answered.Load() > before+20 }, 10*time.Second, time.Millisecond, "still accepting")
	unready.Store(true)
	select {
	case err := <-r.ended:
		t.Fatal("ended with an admission in flight", err)
	case <-time.After(1500 * time.Millisecond):
	}
	close(release)
	require.NoError(t, <-r.ended)
	load.Wait()
	require.Empty(t, failures)
}

func TestTLSVersions(t *testing.T) {
	r := startServer(t, skip, 0)
	r.certify(t, time.Hour)
	r.becomes(t, http.StatusOK)
	config := &tls.Config{RootCAs: r.roots, ServerName: testName, MaxVersion: tls.VersionTLS12}
	_, err := tls.Dial("tcp", r.server.admission.Addr().String(), config)
	require.ErrorContains(t, err, "protocol version")
	conn, err := tls.Dial("tcp", r.server.admission.Addr().String(), &tls.Config{RootCAs: r.roots, ServerName: testName, NextProtos: []string{"http/1.1"}})
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	r.stop()
	require.NoError(t, <-r.ended)
}

func TestCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		in   string
		out  string
		err  string
	}{
		"version":             {[]string{"version"}, "", program, ""},
		"explain":             {[]string{"inject", "--explain"}, "apiVersion: v1\nkind: Pod\nmetadata: {labels: {kubevirt.io: virt-launcher}}\n", "no_compute", ""},
		"explain a VM":        {[]string{"inject", "--explain"}, "kind: VirtualMachine\n", "", `the input holds "VirtualMachine": no virt-launcher pod`},
		"as it is":            {[]string{"inject", "-o", "yaml"}, "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "metadata: {name: x}", ""},
		"no such file":        {[]string{"inject", "-f", "/does/not/exist"}, "", "", "--filename"},
		"bad quantity":        {[]string{"inject", "--sidecar-cpu=much"}, "", "", "--sidecar-cpu"},
		"too little memory":   {[]string{"inject", "--sidecar-memory=16Mi"}, "", "", "want 24Mi to 256Mi"},
		"not GOARCH":          {[]string{"inject", "--sidecar-architectures=amd64,x86_64"}, "", "", `architecture "x86_64"`},
		"no architecture":     {[]string{"inject", "--sidecar-architectures="}, "", "", "want at least one"},
		"bad image":           {[]string{"inject", "--sidecar-image=A B"}, "", "", "sidecar image"},
		"serve without cert":  {[]string{"serve"}, "", "", "tls-cert-file"},
		"serve without image": {[]string{"serve", "--tls-cert-file=x", "--tls-private-key-file=y"}, "", "", "sidecar-image"},
		"bad TLS version":     {[]string{"serve", "--sidecar-image=a/b:c", "--tls-cert-file=x", "--tls-private-key-file=y", "--tls-min-version=SSL3"}, "", "", "VersionTLS12"},
		"bad log level":       {[]string{"serve", "--log-level=loud"}, "", "", "log-level"},
		"certs outside":       {[]string{"certs"}, "", "", "runs in a pod"},
		"certs lifetimes":     {[]string{"certs", "--ca-lifetime=1h"}, "", "", "--ca-lifetime"},
		"unknown command":     {[]string{"obey"}, "", "", "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			command := newCommand(strings.NewReader(c.in), &out, &errOut)
			command.SetArgs(c.args)
			err := command.ExecuteContext(t.Context())
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Contains(t, out.String(), c.out)
		})
	}
}
