// Package serving is the HTTP server behind every port of the product. Strangers can
// reach those ports, so all that they can use is bounded: connections, handshakes under
// way, bytes of a header, bodies, and time. Limits says which connection goes when there
// is one too many.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config says how a port is served. All times and bounds must be set: net/http takes a zero
// for no bound.
type Config struct {
	Limits Limits
	// MaxHeaderBytes is the most that a request's header may have; net/http reads up to
	// 4 KiB more. A header of short lines costs 20 to 40 times its length once it is
	// parsed (measured by internal/testkit/flood).
	MaxHeaderBytes int
	// ReadTimeout bounds a TLS handshake, and a request to the end of its body.
	ReadTimeout time.Duration
	// WriteTimeout bounds a request from the end of its header to the end of the answer.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests. It must be longer
	// than that of the client: if the server closed first, a request could meet the
	// closing.
	IdleTimeout time.Duration
	// Drain is how long requests under way may take after the end is asked for.
	Drain time.Duration
	// TLS is nil where none is served.
	TLS *tls.Config
	// BodyDue reports whether a request may have a body. One that has a body and may not
	// is answered with 400 at once, and its connection closed. nil: none may.
	BodyDue func(*http.Request) bool
	// Logger gets panics at level error, and what strangers do wrong at level debug.
	Logger *slog.Logger
}

// Serve serves on the listener until ctx ends. Then it closes the listener, lets the
// requests under way end, and returns nil. It returns an error if it cannot serve, or if
// a bound is missing.
func Serve(ctx context.Context, on net.Listener, handler http.Handler, config Config) error {
	if err := config.check(); err != nil {
		return errors.Join(err, on.Close())
	}
	limited := limit(on, config.Limits)
	server := newServer(limited, handler, config)
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- start(server, limited, config) })
	defer serving.Wait()
	defer func() { _ = server.Close() }() // what Shutdown has left is cut off
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", on.Addr(), err)
	case <-ctx.Done():
		return drain(server, config)
	}
}

func (c Config) check() error {
	for _, bound := range []struct {
		name  string
		value int64
	}{
		{"Limits.Connections", int64(c.Limits.Connections)},
		{"MaxHeaderBytes", int64(c.MaxHeaderBytes)},
		{"ReadTimeout", int64(c.ReadTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
	} {
		if bound.value <= 0 {
			return fmt.Errorf("serve: %s is not set", bound.name)
		}
	}
	return nil
}

func start(server *http.Server, on net.Listener, config Config) error {
	if config.TLS != nil {
		return server.ServeTLS(on, "", "")
	}
	return server.Serve(on)
}

func drain(server *http.Server, config Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), config.Drain)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		config.Logger.Warn("requests were still under way at the end and are cut off", "after", config.Drain.String())
	}
	return nil
}

func newServer(on *listener, handler http.Handler, config Config) *http.Server {
	protocols := new(http.Protocols)
	// Nobody who calls us has a use for HTTP/2, where one connection carries many
	// requests. API servers speak HTTP/1.1 to webhooks, so that their connections spread
	// over the replicas (k8s.io/apiserver pkg/util/webhook/client.go, NextProtos).
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      guard{next: handler, bodyDue: config.BodyDue},
		Protocols:                    protocols,
		TLSConfig:                    config.TLS,
		ReadHeaderTimeout:            config.ReadTimeout,
		ReadTimeout:                  config.ReadTimeout,
		WriteTimeout:                 config.WriteTimeout,
		IdleTimeout:                  config.IdleTimeout,
		MaxHeaderBytes:               config.MaxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * goes to the handler like the rest
		ConnState:                    on.track,
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return withConn(ctx, connOf(c)) },
		ErrorLog:                     log.New(errorLog{config.Logger}, "", 0),
	}
}

// errorLog takes the lines of an http.Server. All but panics are about what a client
// did, which must not fill the log.
type errorLog struct{ logger *slog.Logger }

// Write implements io.Writer.
func (l errorLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if text := string(line); strings.HasPrefix(text, "http: panic") || strings.HasPrefix(text, "http: Accept error") {
		level = slog.LevelError
	}
	l.logger.Log(context.Background(), level, strings.TrimSpace(string(line)))
	return len(line), nil
}
