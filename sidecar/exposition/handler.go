package exposition

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// scrapeTimeout ends a scrape that the process has no time for.
	scrapeTimeout = 5 * time.Second
	// maxScrapes is how many scrapes are answered at once; more get 503.
	maxScrapes = 32
	// program prefixes the exporter's own metrics.
	program = "hypervisor_exporter"
)

// Config says what is shown, and where.
type Config struct {
	Source Source
	// Now is the clock.
	Now func() time.Time
	// Ready reports whether every listener is up.
	Ready func() bool
	// TelemetryPath is where the metrics are, for example /metrics.
	TelemetryPath string
	// RuntimeMetrics adds go_* and process_*: some 50 series.
	RuntimeMetrics bool
	// Restarts is how often the exporter was started anew in its container; less
	// than 0 where nobody has counted.
	Restarts int
	Logger   *slog.Logger
}

// NewHandler serves the metrics, the landing page at /, /healthz and /readyz.
func NewHandler(config Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+config.TelemetryPath, metricsHandler(config))
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", readyz(config))
	mux.Handle("GET /{$}", landing(config))
	return mux
}

// metricsHandler shows the VMI from kept pages. The runtime's metrics are others
// at each scrape: with them, each is rendered.
func metricsHandler(config Config) http.Handler {
	render := renderer(config)
	if config.RuntimeMetrics {
		return render
	}
	return &pages{config: config, render: render}
}

// renderer writes the metrics as the client asks for them. Each request gathers by
// itself: with CoalesceGather, one could join a gather that had read an older snapshot.
func renderer(config Config) http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{source: config.Source, now: config.Now, restarts: config.Restarts}, versioncollector.NewCollector(program))
	if config.RuntimeMetrics {
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(config.Logger.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.HTTPErrorOnError,
		OfferedCompressions: compressions(config),
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}

// compressions leaves gzip to the pages where they are kept.
func compressions(config Config) []promhttp.Compression {
	if config.RuntimeMetrics {
		return []promhttp.Compression{promhttp.Identity, promhttp.Gzip}
	}
	return []promhttp.Compression{promhttp.Identity}
}

// healthz says that the process serves.
func healthz(w http.ResponseWriter, _ *http.Request) {
	say(w, http.StatusOK, "ok\n")
}

// readyz says whether a scrape can show a VMI: the identity is valid and every
// listener is up. Whether libvirt answers is not asked: a metric tells that.
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
	//nolint:errcheck // whoever asked has gone
	w.Write([]byte(text))
}
