// Package exposition shows a snapshot to clients over HTTP: metrics and health. It asks
// nothing of libvirt: a scrape reads the newest snapshot and returns.
package exposition

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"kubevirt-hypervisor-exporter/internal/serving"
)

// program prefixes the exporter's own metrics.
const program = "hypervisor_exporter"

// Config says what is shown.
type Config struct {
	Source Source
	// Now is the clock.
	Now func() time.Time
	// Ready reports whether every listener is up.
	Ready func() bool
	// Restarts is how often the exporter was restarted in its container; less
	// than 0 if that is unknown.
	Restarts int
	Logger   *slog.Logger
}

// NewHandler serves /metrics, /healthz and /readyz.
func NewHandler(config Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", &pages{config: config, metrics: newRegistry(config)})
	mux.Handle("GET /healthz", serving.Probe(nil))
	mux.Handle("GET /readyz", serving.Probe(config.ready))
	return mux
}

func newRegistry(config Config) *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{source: config.Source, now: config.Now, restarts: config.Restarts}, versioncollector.NewCollector(program))
	return registry
}

// ready returns why a scrape cannot show a VMI: the identity is not valid, or a listener is not up. Whether libvirt
// answers is not part of it: there is a metric for that.
func (c Config) ready(context.Context) error {
	switch {
	case !c.Source.Snapshot().Identity.Valid():
		return errors.New("the VMI's identity is missing or invalid; see the log")
	case !c.Ready():
		return errors.New("a listener is not up; see the log")
	default:
		return nil
	}
}
