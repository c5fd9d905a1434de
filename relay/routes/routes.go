// Package routes is what the relay serves under which path, and who may get it.
package routes

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

// The nonResourceURLs whose get is the right to a page.
const (
	// RightOnPods is one path for all pods, and no page of any server: whoever has
	// it may scrape VMs and nothing else.
	RightOnPods = "/metrics/vmis"
	// RightOnMetrics is what kube-rbac-proxy and controller-runtime ask for, too.
	RightOnMetrics = "/metrics"
)

// Routes is what is served where.
type Routes struct {
	// Pods answers below /pods/.
	Pods http.Handler
	// Registry is shown at /metrics.
	Registry *prometheus.Registry
	// Protect puts a handler behind the right to get a nonResourceURL.
	Protect func(right string, next http.Handler) http.Handler
	// Ready is nil when a scrape could go through.
	Ready  func(context.Context) error
	Logger *slog.Logger
}

// NewHandler serves /pods/{uid}/metrics and /metrics, protected, and /healthz and
// /readyz to everybody: the kubelet has no token. It answers to GET alone.
func NewHandler(routes Routes) http.Handler {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hypervisor_exporter_relay_requests_total",
		Help: "Requests that were answered, by what they asked for and the answer's status.",
	}, []string{"handler", "code"})
	routes.Registry.MustRegister(requests)
	own := promhttp.HandlerFor(routes.Registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(routes.Logger.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	})
	return &router{
		pods:    counted(requests, "pods", routes.Protect(RightOnPods, trusted(routes.Pods))),
		metrics: counted(requests, "metrics", routes.Protect(RightOnMetrics, trusted(own))),
		healthz: counted(requests, "healthz", serving.Probe(nil)),
		readyz:  counted(requests, "readyz", serving.Probe(routes.Ready)),
		other:   counted(requests, "other", http.NotFoundHandler()),
	}
}

// trusted makes the server keep the connection of a request that is allowed when there
// are too many.
func trusted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Trust(r)
		next.ServeHTTP(w, r)
	})
}

// A router takes the path as it was sent: http.ServeMux would clean and unescape it.
type router struct{ pods, metrics, healthz, readyz, other http.Handler }

// ServeHTTP implements http.Handler.
func (s *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.route(r.URL.EscapedPath()).ServeHTTP(w, r)
}

func (s *router) route(path string) http.Handler {
	switch {
	case scrape.IsPath(path):
		return s.pods
	case path == "/metrics":
		return s.metrics
	case path == "/healthz":
		return s.healthz
	case path == "/readyz":
		return s.readyz
	default:
		return s.other
	}
}

// counted refuses what is no GET, and counts the answers.
func counted(requests *prometheus.CounterVec, name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &status{ResponseWriter: w}
		// Deferred: a page that breaks off ends in a panic, and is counted, too.
		defer func() { requests.WithLabelValues(name, seen.label()).Inc() }()
		if r.Method != http.MethodGet {
			seen.Header().Set("Allow", http.MethodGet)
			http.Error(seen, "want GET", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(seen, r)
	})
}

// status notes an answer's code.
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

// label leaves codes that nobody knows in one heap: a pod chooses its own.
func (s *status) label() string {
	switch {
	case s.code == 0:
		return "200"
	case http.StatusText(s.code) == "" && s.code != 499:
		return "other"
	default:
		return strconv.Itoa(s.code)
	}
}
