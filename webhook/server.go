package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/webhook/admission"
)

// server is the process that answers admissions over TLS, and metrics and probes on two other
// ports.
type server struct {
	source   certificate.Source
	handler  *admission.Handler
	registry *prometheus.Registry
	logger   *slog.Logger
	// shutdownDelay waits between not ready and closed.
	shutdownDelay func()
	// shutdownTimeout is how long admissions under way may take after that.
	shutdownTimeout time.Duration

	admission  net.Listener
	operations operations
	served     servedCertificate
	draining   atomic.Bool
}

// listen opens the ports, so that a port in use is an error before anything runs.
func (s *server) listen(admission string, others operationsFlags) error {
	opened, err := listenAll(admission, others.metrics, others.probes)
	if err != nil {
		return err
	}
	s.admission = opened[0]
	s.operations = operations{metrics: opened[1], probes: opened[2], registry: s.registry, ready: s.ready, logger: s.logger}
	return nil
}

// run serves until ctx ends and then drains. It returns nil after that, and an error if a port
// could not be served.
func (s *server) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	// Metrics, probes and the certificate stay until the last admission has ended.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	accepting, stopAccepting := context.WithCancel(background)
	defer stopAccepting()
	running.Go(func() { _ = s.source.Run(background) }) // only ends with background

	admissions, others := make(chan error, 1), make(chan error, 1)
	running.Go(func() { admissions <- serving.Serve(accepting, s.admission, s.mux(), s.admissionConfig()) })
	running.Go(func() { others <- s.operations.serve(background) })

	select {
	case err := <-admissions:
		return err
	case err := <-others:
		return err
	case <-ctx.Done():
	}
	s.drain()
	stopAccepting()
	err := <-admissions
	s.logger.Info("drained")
	return err
}

// drain lets API servers leave before the port closes. The replica is not ready, and every
// answer asks to close the connection, but it still accepts: kube-proxy and the API servers
// need a moment to turn to the others.
func (s *server) drain() {
	s.logger.Info("draining")
	s.draining.Store(true)
	s.handler.Drain()
	s.shutdownDelay()
}

func (s *server) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(admission.Path, s.handler)
	return mux
}

// admissionLimits fit the Deployment's 64 MiB: internal/testkit/flood. An API server keeps up
// to 25 idle connections (apimachinery SetTransportDefaults) and opens one for each admission
// beyond those: 50 VMs a second, for 2 s in which nothing gets a CPU, are 100.
var admissionLimits = serving.Limits{Connections: 192, PerSource: 144, New: 144}

// admissionConfig is limited to what an API server does, since anyone in the cluster can reach
// the port.
func (s *server) admissionConfig() serving.Config {
	return serving.Config{
		Limits:         admissionLimits,
		MaxHeaderBytes: 1 << 10,
		// The API server gives up after timeoutSeconds 2.
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 5 * time.Second,
		// Longer than the 90 s after which API servers close an idle connection (apimachinery
		// SetTransportDefaults): they do not repeat a POST that arrives as we close it.
		IdleTimeout: 2 * time.Minute,
		Drain:       s.shutdownTimeout,
		TLS: &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: s.source.GetCertificate,
			// A resumed session would keep the certificate it began with; API servers do not
			// resume.
			SessionTicketsDisabled: true,
		},
		BodyDue: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == admission.Path },
		Logger:  s.logger,
	}
}

// ready returns nil if an API server that connects now gets a valid certificate.
func (s *server) ready(ctx context.Context) error {
	if s.draining.Load() {
		return errors.New("shutting down")
	}
	if err := s.source.Healthy(); err != nil {
		return err
	}
	loaded, err := s.source.GetCertificate(nil)
	if err != nil {
		return err
	}
	return s.served.check(ctx, loaded.Leaf, s.handshake)
}

// handshake connects to the server itself and compares the certificate that it gets: a loaded
// certificate need not be served.
func (s *server) handshake(ctx context.Context, loaded *x509.Certificate) error {
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The certificate's CA is not known here and does not matter: the certificate itself is
		// compared.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(loaded) {
				return errors.New("the certificate that is served is not the one that was loaded last; normal for a moment while it changes")
			}
			return nil
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", s.admission.Addr().String())
	if err != nil {
		return fmt.Errorf("handshake with ourselves: %w", err)
	}
	return conn.Close()
}

// How long a result of a handshake is kept. Anyone can ask for readiness, so not each question
// may cost a handshake; and while the port is flooded, a handshake takes longer than the kubelet
// waits.
const (
	keepServed    = 30 * time.Second
	keepNotServed = 500 * time.Millisecond
)

// servedCertificate remembers whether a certificate was served on the port.
type servedCertificate struct {
	mu          sync.Mutex
	certificate *x509.Certificate
	err         error
	until       time.Time
}

// check returns nil if the certificate is served, as remembered or else as ask reports.
func (s *servedCertificate) check(ctx context.Context, certificate *x509.Certificate, ask func(context.Context, *x509.Certificate) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificate != nil && s.certificate.Equal(certificate) && time.Now().Before(s.until) {
		return s.err
	}
	s.certificate, s.err = certificate, ask(ctx, certificate)
	keep := keepServed
	if s.err != nil {
		keep = keepNotServed
	}
	s.until = time.Now().Add(keep)
	return s.err
}
