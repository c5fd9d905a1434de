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

// addresses are where a server listens.
type addresses struct{ admission, metrics, probes string }

// server is the serving process: admissions over TLS, metrics and probes beside.
type server struct {
	source          certificate.Source
	handler         *admission.Handler
	registry        *prometheus.Registry
	logger          *slog.Logger
	minVersion      uint16
	shutdownDelay   time.Duration
	shutdownTimeout time.Duration

	admission, metrics, probes net.Listener
	served                     servedCertificate
	draining                   atomic.Bool
}

// listen opens the ports, so that a port taken is an error before anything runs.
func (s *server) listen(a addresses) error {
	opened, err := listenAll(a.admission, a.metrics, a.probes)
	if err != nil {
		return err
	}
	s.admission, s.metrics, s.probes = opened[0], opened[1], opened[2]
	return nil
}

// run serves until ctx ends and then drains. It returns nil after that, and an
// error if a server ended by itself.
func (s *server) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	// Metrics, probes and the certificate stay until the last admission has ended.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	accepting, stopAccepting := context.WithCancel(background)
	defer stopAccepting()
	running.Go(func() { _ = s.source.Run(background) }) // only ends with background

	plain := plainConfig(s.logger)
	admissions, others := make(chan error, 1), make(chan error, 2)
	running.Go(func() { admissions <- serving.Serve(accepting, s.admission, s.mux(), s.admissionConfig()) })
	running.Go(func() { others <- serving.Serve(background, s.metrics, metricsHandler(s.registry), plain) })
	running.Go(func() { others <- serving.Serve(background, s.probes, probeHandler(nil, s.ready), plain) })

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

// drain lets API servers leave before the port closes. The replica reports that it
// is not ready, and every answer asks to close the connection, while it goes on
// accepting: kube-proxy and the API servers need a moment to turn to the others.
func (s *server) drain() {
	s.logger.Info("draining", "delay", s.shutdownDelay.String())
	s.draining.Store(true)
	s.handler.Drain()
	delay := time.NewTimer(s.shutdownDelay)
	defer delay.Stop()
	<-delay.C
}

func (s *server) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(admission.Path, s.handler)
	return mux
}

// admissionLimits fit the Deployment's 64 MiB: internal/testkit/flood. An API server keeps
// up to 25 idle connections (apimachinery SetTransportDefaults) and opens one for each
// admission beyond those: 50 VMs a second, for 2 s in which nothing gets a CPU, are 100.
var admissionLimits = serving.Limits{Connections: 192, PerSource: 144, New: 144}

// admissionConfig is limited to what an API server does, since anyone in the
// cluster can reach it.
func (s *server) admissionConfig() serving.Config {
	return serving.Config{
		Limits:         admissionLimits,
		MaxHeaderBytes: 1 << 10,
		// The API server gives up after timeoutSeconds 2.
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 5 * time.Second,
		// Longer than the 90 s after which API servers close an idle connection
		// (apimachinery SetTransportDefaults): a POST that meets the closing is not
		// repeated.
		IdleTimeout: 2 * time.Minute,
		Drain:       s.shutdownTimeout,
		TLS: &tls.Config{
			MinVersion:     s.minVersion,
			GetCertificate: s.source.GetCertificate,
			// A resumed session would go on with the certificate it began
			// with; API servers do not resume.
			SessionTicketsDisabled: true,
		},
		BodyDue: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == admission.Path },
		Logger:  s.logger,
	}
}

// ready is nil when an API server that connects now gets a good certificate.
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
	return s.served.check(ctx, loaded.Leaf, s.shows)
}

// shows makes a handshake with the server itself and compares what it gets: that a
// certificate is loaded does not say that it is served.
func (s *server) shows(ctx context.Context, loaded *x509.Certificate) error {
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: s.minVersion,
		// The certificate's signer is not known here and does not matter: what
		// is compared is the certificate itself.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(loaded) {
				return errors.New("another certificate is served than was loaded last; right for a moment while it changes")
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
