package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// TestRoutes: what is behind which right, what is open, and what is counted.
func TestRoutes(t *testing.T) {
	registry := prometheus.NewRegistry()
	var ready error
	pods := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	protect := func(right string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Right", right)
			next.ServeHTTP(w, r)
		})
	}
	handler := newRoutes(pods, registry, protect, func(context.Context) error { return ready }, slog.New(slog.DiscardHandler))
	ask := func(method, path string, code int, right string) {
		t.Helper()
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
		require.Equal(t, code, recorder.Code, path)
		require.Equal(t, right, recorder.Header().Get("Right"), path)
	}
	ask("GET", "/pods/x/metrics", 404, "/metrics/vmis")
	ask("GET", "/metrics", 200, "/metrics")
	ask("GET", "/healthz", 200, "")
	ask("GET", "/readyz", 200, "")
	ask("GET", "/", 404, "")
	ask("GET", "/metrics/", 404, "")
	ask("GET", "//metrics", 404, "")
	ask("GET", "/debug/pprof/", 404, "")
	for _, path := range []string{"/pods/x/metrics", "/metrics", "/healthz"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PROPFIND"} {
			ask(method, path, 405, "")
		}
	}
	ready = errors.New("no certificate")
	ask("GET", "/readyz", 503, "")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP hypervisor_exporter_relay_requests_total Requests that were answered, by handler and the answer's status.
# TYPE hypervisor_exporter_relay_requests_total counter
hypervisor_exporter_relay_requests_total{code="404",handler="pods"} 1
hypervisor_exporter_relay_requests_total{code="405",handler="pods"} 8
hypervisor_exporter_relay_requests_total{code="200",handler="metrics"} 1
hypervisor_exporter_relay_requests_total{code="405",handler="metrics"} 8
hypervisor_exporter_relay_requests_total{code="200",handler="healthz"} 1
hypervisor_exporter_relay_requests_total{code="405",handler="healthz"} 8
hypervisor_exporter_relay_requests_total{code="200",handler="readyz"} 1
hypervisor_exporter_relay_requests_total{code="503",handler="readyz"} 1
hypervisor_exporter_relay_requests_total{code="404",handler="other"} 4
`), "hypervisor_exporter_relay_requests_total"))
}
