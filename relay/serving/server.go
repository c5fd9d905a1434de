// Package serving is the relay's HTTP side: one port, over TLS or not, what is
// found on which path, and an end that drops no scrape.
package serving

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

	"github.com/prometheus/exporter-toolkit/web"

	"kubevirt-hypervisor-exporter/sidecar/exposition/crowd"
)

// maxHeaderBytes leaves room for a token of 8 KiB.
const maxHeaderBytes = 16 << 10

// maxConnections bounds what connections can cost: some 40 KiB each with TLS.
// Prometheus keeps a few, however many pods it scrapes.
const maxConnections = 384

// Config says how to serve.
type Config struct {
	Address string
	// Certificate gives the certificate for TLS; nil is none.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// WebConfigFile is exporter-toolkit's, instead of Certificate; or empty.
	WebConfigFile string
	// Timeout bounds a request from its last header to the end of the answer. A
	// scrape must fit in, and the question whether it is allowed.
	Timeout time.Duration
	// Drain is how long requests under way may go on after the end is asked for.
	Drain  time.Duration
	Logger *slog.Logger
}

// A Server serves on one port.
type Server struct {
	config   Config
	listener net.Listener
	draining atomic.Bool
}

// Listen opens the port, so that a port taken is an error before anything runs.
func Listen(config Config) (*Server, error) {
	listener, err := net.Listen("tcp", config.Address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &Server{config: config, listener: listener}, nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Draining reports whether the end was asked for.
func (s *Server) Draining() bool { return s.draining.Load() }

// Run serves until ctx ends, lets the requests under way end, and gives nil; it
// gives an error if it cannot serve.
func (s *Server) Run(ctx context.Context, handler http.Handler) error {
	server := s.httpServer(handler)
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- s.serve(server) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", s.Address(), err)
	case <-ctx.Done():
		s.draining.Store(true)
		return s.drain(server)
	}
}

func (s *Server) serve(server *http.Server) error {
	switch {
	case s.config.WebConfigFile != "":
		return web.Serve(s.listener, server, &web.FlagConfig{WebConfigFile: &s.config.WebConfigFile}, s.config.Logger)
	case s.config.Certificate != nil:
		return server.ServeTLS(s.listener, "", "")
	default:
		return server.Serve(s.listener)
	}
}

func (s *Server) drain(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Drain)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		s.config.Logger.Warn("requests were still under way at the end and are cut off", "after", s.config.Drain)
	}
	return nil
}

func (s *Server) httpServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a scrape has no use for more
	server := &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      s.config.Timeout,
		// Longer than Prometheus' 5 minutes (common/config, http_config.go): if we
		// closed first, a scrape could meet the closing.
		IdleTimeout:                  6 * time.Minute,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * gets 405 like the rest
		ConnState:                    crowd.New(maxConnections).Track,
		ErrorLog:                     slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	if s.config.Certificate != nil {
		server.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: s.config.Certificate,
			// A resumed session would go on with the certificate it began with.
			SessionTicketsDisabled: true,
		}
	}
	return server
}
