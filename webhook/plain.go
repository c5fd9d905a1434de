package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubevirt-hypervisor-exporter/internal/serving"
)

// check is nil when all is well.
type check func(context.Context) error

// plainConnections is what a port without TLS may have: a kubelet or a Prometheus needs
// one or two.
const plainConnections = 32

// plainConfig is for the ports with metrics and with probes.
func plainConfig(logger *slog.Logger) serving.Config {
	return serving.Config{
		Limits:         serving.Limits{Connections: plainConnections, PerSource: plainConnections / 2},
		MaxHeaderBytes: 1 << 10,
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   10 * time.Second,
		// Longer than Prometheus' 5 minutes (common/config, http_config.go).
		IdleTimeout: 6 * time.Minute,
		Drain:       time.Second,
		Logger:      logger,
	}
}

// listenAll opens one port for each address, or none.
func listenAll(addresses ...string) ([]net.Listener, error) {
	var opened []net.Listener
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range opened {
				_ = l.Close()
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
		opened = append(opened, listener)
	}
	return opened, nil
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(registry, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		// As many as there are connections: with fewer, strangers who ask all the time
		// would leave Prometheus with 503.
		MaxRequestsInFlight: plainConnections,
		CoalesceGather:      true,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	})))
	return mux
}

// probeHandler answers /healthz with alive (nil: that there is an answer is
// all) and /readyz with ready.
func probeHandler(alive, ready check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", serving.Probe(alive))
	mux.Handle("GET /readyz", serving.Probe(ready))
	return mux
}
