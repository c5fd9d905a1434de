package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/internal/testkit"
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

func startServer(t *testing.T, decide admission.Decider, wait func()) *running {
	t.Helper()
	r := &running{dir: t.TempDir(), roots: x509.NewCertPool(), ended: make(chan error, 1)}
	logger, registry := slog.New(slog.DiscardHandler), newRegistry()
	source := certificate.NewFileSource(filepath.Join(r.dir, "tls.crt"), filepath.Join(r.dir, "tls.key"), 10*time.Millisecond, time.Now, logger)
	registry.MustRegister(certificate.NewCollector(certificateMetric, source))
	r.server = &server{
		source: source, handler: admission.NewHandler(decide, admission.NewMetrics(registry), logger),
		registry: registry, logger: logger, shutdownDelay: wait, shutdownTimeout: testkit.Patience,
	}
	require.NoError(t, r.listen("127.0.0.1:0", operationsFlags{"127.0.0.1:0", "127.0.0.1:0"}))
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.ended <- r.run(ctx) }()
	return r
}

// certify gives the server a certificate and waits until it is ready.
func (r *running) certify(t *testing.T) {
	t.Helper()
	ca, err := pki.NewCA(testName, time.Now(), 24*time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, testName, time.Now(), time.Hour)
	require.NoError(t, err)
	r.roots.AddCert(ca.Certificate)
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "tls.key"), leaf.KeyPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "tls.crt"), leaf.CertPEM, 0o600))
	r.becomes(t, http.StatusOK)
}

func (r *running) get(t *testing.T, on net.Listener, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testkit.Patience}
	response, err := client.Get("http://" + on.Addr().String() + path)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func (r *running) becomes(t *testing.T, status int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if got, why := r.get(t, r.operations.probes, "/readyz"); got != status {
			return fmt.Errorf("status %d: %s", got, why)
		}
		return nil
	})
}

// client speaks as an API server does: HTTP/1.1, kept alive.
func (r *running) client() *http.Client {
	return &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{
		MaxIdleConnsPerHost: 16,
		TLSClientConfig:     &tls.Config{RootCAs: r.roots, ServerName: testName},
	}}
}

const podReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",
	"request":{"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":{}}}`

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

func TestServer(t *testing.T) {
	r := startServer(t, skip, func() {})
	status, why := r.get(t, r.operations.probes, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, why, "no serving certificate")
	status, _ = r.get(t, r.operations.probes, "/healthz")
	require.Equal(t, http.StatusOK, status)

	r.certify(t)
	client := r.client()
	require.NoError(t, r.admit(client))
	client.CloseIdleConnections()
	_, metrics := r.get(t, r.operations.metrics, "/metrics")
	for _, name := range []string{"admissions_total", "admission_duration_seconds_count", "admissions_in_flight",
		"panics_total", "certificate_not_after_timestamp_seconds", "build_info"} {
		require.Contains(t, metrics, "hypervisor_exporter_webhook_"+name)
	}
	_, err := tls.Dial("tcp", r.server.admission.Addr().String(),
		&tls.Config{RootCAs: r.roots, ServerName: testName, MaxVersion: tls.VersionTLS12})
	require.ErrorContains(t, err, "protocol version")
	r.stop()
	require.NoError(t, <-r.ended)
}

type expired struct{ certificate.Source }

func (expired) Healthy() error { return errors.New("expired") }

func TestServerWithAnExpiredCertificateIsNotReady(t *testing.T) {
	s := &server{source: expired{}}
	require.EqualError(t, s.ready(t.Context()), "expired")
}

// TestDrainDropsNothing: a replica ends under load. Every admission is answered until the clients
// have been asked to go elsewhere, and the one under way to its end.
func TestDrainDropsNothing(t *testing.T) {
	entered, release, delayed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	decide := func(pod *inject.Pod) inject.Decision {
		if slow.CompareAndSwap(true, false) {
			close(entered)
			<-release
		}
		return skip(pod)
	}
	r := startServer(t, decide, func() { <-delayed })
	r.certify(t)
	client := r.client()
	defer client.CloseIdleConnections()

	const clients = 8
	var load sync.WaitGroup
	var unready atomic.Bool // what takes a replica out of its Service
	var answered, gone atomic.Int64
	failures := make(chan error, clients)
	for range clients {
		load.Go(func() {
			defer gone.Add(1)
			for !unready.Load() {
				if err := r.admit(client); err != nil {
					failures <- err
					return
				}
				answered.Add(1)
			}
		})
	}
	atLeast := func(count *atomic.Int64, n int64) {
		t.Helper()
		testkit.Eventually(t, func() error {
			if got := count.Load(); got < n && len(failures) == 0 {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	atLeast(&answered, 100)
	slow.Store(true)
	<-entered
	r.stop()
	r.becomes(t, http.StatusServiceUnavailable)
	atLeast(&answered, answered.Load()+20) // it still accepts
	unready.Store(true)
	atLeast(&gone, clients-1) // all but the one under way
	close(delayed)
	testkit.Eventually(t, func() error {
		conn, err := net.Dial("tcp", r.server.admission.Addr().String())
		if err != nil {
			return nil
		}
		return errors.Join(errors.New("the port is still open"), conn.Close())
	})
	require.Empty(t, r.ended, "ended with an admission under way")
	close(release)
	require.NoError(t, <-r.ended)
	load.Wait()
	require.Empty(t, failures)
}

// TestServedCertificate: a handshake is made for another certificate, and when the last result is old.
func TestServedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served servedCertificate
		var result error
		asked := 0
		check := func(raw string) error {
			return served.check(t.Context(), &x509.Certificate{Raw: []byte(raw)}, func(context.Context, *x509.Certificate) error {
				asked++
				return result
			})
		}
		require.NoError(t, check("a"))
		result = errors.New("not served")
		require.NoError(t, check("a"), "remembered")
		require.Error(t, check("b"), "another one")
		result = nil
		require.Error(t, check("b"), "remembered for a moment")
		require.Equal(t, 2, asked)
		time.Sleep(keepNotServed)
		require.NoError(t, check("b"))
		time.Sleep(keepServed)
		result = errors.New("gone")
		require.Error(t, check("b"))
		require.Equal(t, 4, asked)
	})
}

func TestCommandLine(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {labels: {kubevirt.io: virt-launcher}}\n"
	for name, c := range map[string]struct {
		args string
		in   string
		out  string
		err  string
		code int
	}{
		"explain":             {args: "inject --explain", in: pod, out: "no_compute"},
		"explain a VM":        {args: "inject --explain", in: "kind: VirtualMachine\n", err: `the input holds "VirtualMachine": no virt-launcher pod`, code: 1},
		"as it is":            {args: "inject -o yaml", in: "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", out: "metadata: {name: x}"},
		"no such file":        {args: "inject -f /does/not/exist", err: "--filename", code: 1},
		"bad quantity":        {args: "inject --sidecar-cpu=much", err: "--sidecar-cpu", code: commandline.ExitUsage},
		"bad exposure":        {args: "inject --exposure=tcp", err: "want unix or direct", code: commandline.ExitUsage},
		"too little memory":   {args: "inject --sidecar-memory=16Mi", err: "want 24Mi to 256Mi", code: commandline.ExitUsage},
		"not GOARCH":          {args: "inject --sidecar-architectures=amd64,x86_64", err: `architecture "x86_64"`, code: commandline.ExitUsage},
		"no architecture":     {args: "inject --sidecar-architectures=", err: "want at least one", code: commandline.ExitUsage},
		"bad image":           {args: "inject --sidecar-image=A", err: "sidecar image", code: commandline.ExitUsage},
		"serve without cert":  {args: "serve", err: "tls-cert-file", code: commandline.ExitUsage},
		"serve without image": {args: "serve --tls-cert-file=x --tls-private-key-file=y", err: "sidecar-image", code: commandline.ExitUsage},
		"serve, image not set": {args: "serve --tls-cert-file=x --tls-private-key-file=y --sidecar-image=" + inject.UnsetImage,
			err: "no image is set for the sidecar", code: commandline.ExitUsage},
		"certs outside":   {args: "certs", err: "runs in a pod", code: 1},
		"certs lifetimes": {args: "certs --ca-lifetime=1h", err: "--ca-lifetime", code: commandline.ExitUsage},
		"certs of what":   {args: "certs --secret=", err: "nothing to do", code: commandline.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			command := newCommand()
			command.SetIn(strings.NewReader(c.in))
			require.Equal(t, c.code, commandline.Run(t.Context(), command, strings.Fields(c.args), &out, &errOut), errOut.String())
			require.Contains(t, out.String(), c.out)
			require.Contains(t, errOut.String(), c.err)
		})
	}
	require.NoError(t, inject.Config{Image: "registry.example/" + inject.UnsetImage}.RefuseUnset())
}
