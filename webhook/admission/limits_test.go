package admission

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// fill takes every place of a gate.
func fill(g gate) {
	for range cap(g) {
		g <- struct{}{}
	}
}

func TestFullHouse(t *testing.T) {
	for name, c := range map[string]struct {
		gate func(*Handler) gate
		body func([]byte) string
	}{
		"every worker busy":       {func(h *Handler) gate { return h.work }, func(b []byte) string { return string(b) }},
		"large bodies being read": {func(h *Handler) gate { return h.large }, func(b []byte) string { return string(b) + strings.Repeat(" ", smallBody) }},
	} {
		t.Run(name, func(t *testing.T) {
			body := c.body(review(t, virtLauncher(t), nil))
			synctest.Test(t, func(t *testing.T) {
				decide := func(*corev1.Pod) inject.Decision { return inject.Decision{Reason: inject.NoDomain} }
				handler := NewHandler(decide, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
				fill(c.gate(handler))
				post := func() *httptest.ResponseRecorder {
					r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					return w
				}
				start := time.Now()
				w := post()
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				require.Equal(t, patience, time.Since(start), "before the API server gives up")
				require.NotEmpty(t, w.Header().Get("Retry-After"))

				go func() { time.Sleep(time.Second); c.gate(handler).leave() }()
				require.Equal(t, http.StatusOK, post().Code, "a place that becomes free is taken")
			})
		})
	}
}
