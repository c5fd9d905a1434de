package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"kubevirt-hypervisor-exporter/internal/serving"
)

// operationsFlags are the addresses of the ports with metrics and with probes.
type operationsFlags struct{ metrics, probes string }

func (f *operationsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.metrics, "metrics-bind-address", ":8080", "address for /metrics, HTTP")
	flags.StringVar(&f.probes, "health-probe-bind-address", ":8081", "address for /healthz and /readyz, HTTP")
}

// operations are the ports that serve and certs have for the kubelet and Prometheus.
type operations struct {
	metrics, probes net.Listener
	registry        *prometheus.Registry
	// alive is what /healthz checks, ready what /readyz checks. nil: the answer is enough.
	alive, ready func(context.Context) error
	logger       *slog.Logger
}

// serve serves both ports until ctx ends, and then returns nil. It returns an error as soon as
// one of them cannot be served.
func (o *operations) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- serving.Serve(ctx, o.metrics, o.metricsHandler(), o.config()) }()
	go func() { ended <- serving.Serve(ctx, o.probes, o.probeHandler(), o.config()) }()
	err := <-ended
	stop()
	return errors.Join(err, <-ended)
}

// operationsConnections is how many connections each port may have: a kubelet or a Prometheus
// needs one or two.
const operationsConnections = 32

func (o *operations) config() serving.Config {
	return serving.Config{
		Limits:         serving.Limits{Connections: operationsConnections, PerSource: operationsConnections / 2},
		MaxHeaderBytes: 1 << 10,
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   10 * time.Second,
		// Longer than Prometheus' 5 minutes (common/config, http_config.go).
		IdleTimeout: 6 * time.Minute,
		Drain:       time.Second,
		Logger:      o.logger,
	}
}

func (o *operations) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(o.registry, promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{
		// As many as there are connections: with fewer, anyone who asks all the time could leave
		// Prometheus with 503.
		MaxRequestsInFlight: operationsConnections,
		CoalesceGather:      true,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	})))
	return mux
}

func (o *operations) probeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", serving.Probe(o.alive))
	mux.Handle("GET /readyz", serving.Probe(o.ready))
	return mux
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

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("hypervisor_exporter_webhook"),
	)
	return registry
}
