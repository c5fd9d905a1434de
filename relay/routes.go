package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

// The nonResourceURLs that a token must be allowed to get.
const (
	// rightOnPods is one path for all pods, and not a page of any server: the right to it is
	// the right to scrape VMs and nothing else.
	rightOnPods = "/metrics/vmis"
	// rightOnMetrics is also what kube-rbac-proxy and controller-runtime ask for.
	rightOnMetrics = "/metrics"
)

// A protector puts a handler behind the right to get a nonResourceURL.
type protector func(right string, next http.Handler) http.Handler

// newRoutes serves /pods/{uid}/metrics and /metrics, protected, and /healthz and /readyz
// to everyone: the kubelet has no token. It answers only GET.
func newRoutes(pods http.Handler, registry *prometheus.Registry, protect protector, ready func(context.Context) error, logger *slog.Logger) http.Handler {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hypervisor_exporter_relay_requests_total",
		Help: "Requests that were answered, by handler and the answer's status.",
	}, []string{"handler", "code"})
	registry.MustRegister(requests)
	own := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(logger.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	})
	pods = counted(requests, "pods", protect(rightOnPods, trusted(pods)))
	other := counted(requests, "other", http.NotFoundHandler())
	pages := map[string]http.Handler{
		"/metrics": counted(requests, "metrics", protect(rightOnMetrics, trusted(own))),
		"/healthz": counted(requests, "healthz", serving.Probe(nil)),
		"/readyz":  counted(requests, "readyz", serving.Probe(ready)),
	}
	// The path as it was sent: http.ServeMux would clean and unescape it.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		page, found := pages[path]
		switch {
		case scrape.IsPath(path):
			page = pods
		case !found:
			page = other
		}
		page.ServeHTTP(w, r)
	})
}

// trusted makes the server keep the connection of a request that is allowed when there
// are too many.
func trusted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Trust(r)
		next.ServeHTTP(w, r)
	})
}

// counted refuses anything but GET, and counts the answers.
func counted(requests *prometheus.CounterVec, name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &status{ResponseWriter: w, code: http.StatusOK}
		// Deferred: a page that is cut off ends in a panic, and is counted too.
		defer func() { requests.WithLabelValues(name, strconv.Itoa(recorder.code)).Inc() }()
		if r.Method != http.MethodGet {
			recorder.Header().Set("Allow", http.MethodGet)
			http.Error(recorder, "only GET is allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(recorder, r)
	})
}

// A status records an answer's code.
type status struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets an http.ResponseController find the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
