// Package exposition shows a snapshot to clients over HTTP: metrics and health. It asks
// nothing of libvirt: a scrape reads the newest snapshot and returns.
package exposition

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
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
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", readyz(config))
	return mux
}

func newRegistry(config Config) *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{source: config.Source, now: config.Now, restarts: config.Restarts}, versioncollector.NewCollector(program))
	return registry
}

// healthz answers that the process serves.
func healthz(w http.ResponseWriter, _ *http.Request) {
	say(w, http.StatusOK, "ok\n")
}

// readyz answers whether a scrape can show a VMI: the identity is valid and every
// listener is up. Whether libvirt answers is not part of it: there is a metric for that.
func readyz(config Config) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !config.Source.Snapshot().Identity.Valid():
			say(w, http.StatusServiceUnavailable, "the VMI's identity is missing or invalid; see the log\n")
		case !config.Ready():
			say(w, http.StatusServiceUnavailable, "a listener is not up; see the log\n")
		default:
			say(w, http.StatusOK, "ok\n")
		}
	}
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client may have gone
}
