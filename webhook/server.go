package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// addresses are where a server listens.
type addresses struct{ admission, metrics, probes string }

// server is the serving process: admissions over TLS, metrics and probes beside.
type server struct {
	source          certs.Source
	handler         *admission.Handler
	registry        *prometheus.Registry
	logger          *slog.Logger
	minVersion      uint16
	shutdownDelay   time.Duration
	shutdownTimeout time.Duration

	admission, metrics, probes net.Listener
	draining                   atomic.Bool
}

// listen opens the ports, so that a port taken is an error before anything runs.
func (s *server) listen(a addresses) error {
	var opened []net.Listener
	for _, port := range []struct {
		address string
		into    *net.Listener
	}{{a.admission, &s.admission}, {a.metrics, &s.metrics}, {a.probes, &s.probes}} {
		listener, err := net.Listen("tcp", port.address)
		if err != nil {
			for _, l := range opened {
				_ = l.Close()
			}
			return err
		}
		*port.into, opened = listener, append(opened, listener)
	}
	return nil
}

// run serves until ctx ends and then drains. It returns nil after that, and an
// error if a server ended by itself.
func (s *server) run(ctx context.Context) error {
	admissions := s.admissionServer()
	metrics := newPlainServer(metricsHandler(s.registry), s.logger)
	probes := newPlainServer(probeHandler(nil, s.ready), s.logger)

	var running sync.WaitGroup
	defer running.Wait()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	running.Go(func() { _ = s.source.Run(background) }) // only ends with background

	ended := make(chan error, 3)
	running.Go(func() { ended <- admissions.ServeTLS(s.admission, "", "") })
	running.Go(func() { ended <- metrics.Serve(s.metrics) })
	running.Go(func() { ended <- probes.Serve(s.probes) })
	defer func() {
		_ = admissions.Close()
		_ = metrics.Close()
		_ = probes.Close()
	}()

	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		return s.drain(admissions)
	}
}

// drain ends serving so that nobody's admission is dropped. First the replica
// says that it is not ready, and every answer asks to close the connection,
// while it goes on accepting: kube-proxy and the API servers need a moment to
// turn to the others. Only then the port is closed and what is in flight ends.
func (s *server) drain(admissions *http.Server) error {
	s.logger.Info("draining", "delay", s.shutdownDelay.String())
	s.draining.Store(true)
	s.handler.Drain()
	delay := time.NewTimer(s.shutdownDelay)
	defer delay.Stop()
	<-delay.C
	ctx, cancel := context.WithTimeout(context.Background(), s.shutdownTimeout)
	defer cancel()
	if err := admissions.Shutdown(ctx); err != nil {
		return fmt.Errorf("end the admissions in flight: %w", err)
	}
	s.logger.Info("drained")
	return nil
}

// admissionServer is limited to what an API server does, since anyone in the
// cluster can reach it.
func (s *server) admissionServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle(admission.Path, s.handler)
	protocols := new(http.Protocols)
	// API servers speak HTTP/1.1 to webhooks, so that their connections spread
	// over the replicas (k8s.io/apiserver pkg/util/webhook/client.go,
	// NextProtos; kubernetes issue 75791).
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:   mux,
		Protocols: protocols,
		ErrorLog:  slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		TLSConfig: &tls.Config{
			MinVersion:     s.minVersion,
			GetCertificate: s.source.GetCertificate,
			// A resumed session would go on with the certificate it began
			// with; API servers do not resume.
			SessionTicketsDisabled: true,
		},
		// The API server gives up after timeoutSeconds 2.
		ReadHeaderTimeout: 3 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      5 * time.Second,
		// Longer than the 90 s after which API servers close an idle connection
		// (apimachinery SetTransportDefaults): if we closed first, a POST could
		// meet the closing, and it is not repeated.
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}

// ready is nil when an API server that connects now gets a good certificate.
// It makes a handshake with itself: that a certificate is loaded does not say
// that it is served.
func (s *server) ready(ctx context.Context) error {
	if s.draining.Load() {
		return errors.New("shutting down")
	}
	if err := s.source.Healthy(); err != nil {
		return err
	}
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: s.minVersion,
		// The certificate's signer is not known here and does not matter: what
		// is compared is the certificate itself.
		InsecureSkipVerify: true,
		VerifyConnection:   s.showsItsCertificate,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", s.admission.Addr().String())
	if err != nil {
		return fmt.Errorf("handshake with ourselves: %w", err)
	}
	return conn.Close()
}

func (s *server) showsItsCertificate(state tls.ConnectionState) error {
	loaded, err := s.source.GetCertificate(nil)
	if err != nil {
		return err
	}
	if !state.PeerCertificates[0].Equal(loaded.Leaf) {
		return errors.New("another certificate is served than was loaded last; right for a moment while it changes")
	}
	return nil
}
