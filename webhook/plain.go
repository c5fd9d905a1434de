package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// check is nil when all is well.
type check func(context.Context) error

// newPlainServer serves metrics or probes, without TLS.
func newPlainServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 3 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(registry, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	})))
	return mux
}

// probeHandler answers /healthz with alive (nil: that there is an answer is
// all) and /readyz with ready.
func probeHandler(alive, ready check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(alive))
	mux.HandleFunc("GET /readyz", probe(ready))
	return mux
}

func probe(ask check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if ask != nil {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			if err := ask(ctx); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}
