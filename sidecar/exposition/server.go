package exposition

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/internal/serving"
)

const (
	// rebindWait is the time between two attempts to open a listener.
	rebindWait = 5 * time.Second
	// shutdownTimeout is how long scrapes under way may take to end.
	shutdownTimeout = 500 * time.Millisecond
	// maxConnections fit a container that is killed at 24 MiB: internal/testkit/flood. A
	// scraper needs one, and the relay one for each scrape.
	maxConnections = 64
)

// Server serves one handler on every address. An address that cannot be opened
// is tried again for as long as the server runs: a sidecar that exits would take
// its VM out of its Services.
type Server struct {
	addresses []string
	toDevice  bool
	rebind    time.Duration
	logger    *slog.Logger
	up        atomic.Int32
}

// NewServer returns a server for host:port and unix:///path addresses. With toDevice a
// host:port address is served only over the network device that holds it, and so not over
// loopback.
func NewServer(addresses []string, toDevice bool, logger *slog.Logger) *Server {
	return &Server{addresses: addresses, toDevice: toDevice, rebind: rebindWait, logger: logger}
}

// Ready reports whether every address is open.
func (s *Server) Ready() bool { return int(s.up.Load()) == len(s.addresses) }

// Run serves until ctx ends, then lets the scrapes under way end and returns.
func (s *Server) Run(ctx context.Context, handler http.Handler) {
	var listeners sync.WaitGroup
	for _, address := range s.addresses {
		listeners.Go(func() { s.keepServing(ctx, address, handler) })
	}
	listeners.Wait()
}

func (s *Server) keepServing(ctx context.Context, address string, handler http.Handler) {
	logger := s.logger.With("address", address)
	last := ""
	for {
		err := s.serve(ctx, address, handler)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != last { // once per change, not per attempt
			logger.Error("cannot serve; trying again", "err", err)
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.rebind):
		}
	}
}

// serve opens the address and serves until ctx ends or the listener fails.
func (s *Server) serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := Listen(address, s.toDevice, s.logger)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	s.up.Add(1)
	defer s.up.Add(-1)
	return serving.Serve(ctx, listener, handler, serving.Config{
		Limits:         serving.Limits{Connections: maxConnections, PerSource: maxConnections / 2},
		MaxHeaderBytes: 1 << 10,
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   10 * time.Second,
		IdleTimeout:    2 * time.Minute,
		Drain:          shutdownTimeout,
		Logger:         s.logger,
	})
}
