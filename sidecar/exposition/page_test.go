package exposition

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// changing is a Source whose snapshot, and a clock whose time, the test moves on.
type changing struct {
	now, heard time.Time
	current    *hypervisor.Snapshot
}

func (c *changing) Snapshot() *hypervisor.Snapshot { return c.current }
func (c *changing) HeardAt() time.Time             { return c.heard }

func (c *changing) move(s hypervisor.Snapshot) { c.current = &s }

// TestPagesAreTrue: a kept page is shown just as long as it is true.
func TestPagesAreTrue(t *testing.T) {
	source := &changing{now: t0, heard: t0}
	source.move(start(shopWeb))
	config := Config{Source: source, Now: func() time.Time { return source.now }}
	registry, renders := newRegistry(config), 0
	h := &pages{config: config, metrics: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		renders++
		return registry.Gather()
	})}
	check := func(what string, wantRenders int, contains string) {
		t.Helper()
		for range 3 {
			response := get(h, "/metrics", "")
			require.Equal(t, http.StatusOK, response.Code)
			require.Contains(t, response.Body.String(), contains, what)
		}
		require.Equal(t, wantRenders, renders, what)
	}
	check("start", 1, "hypervisor_exporter_libvirt_up 0")

	kvm := running(shopWeb, domainXML("kvm"))
	source.move(kvm)
	check("it runs", 2, `hypervisor_type="kvm"`)

	source.now = t0.Add(grace - 1)
	source.heard = source.now
	check("libvirt answers a ping", 2, `hypervisor_type="kvm"`)
	source.now = source.heard.Add(grace)
	check("nothing is heard of libvirt, nor of the session", 3, `hypervisor_type="unknown"`)
	check("nor is it up", 3, "hypervisor_exporter_libvirt_up 0")
	source.heard = source.now
	check("it answers again", 4, `hypervisor_type="kvm"`)

	source.move(kvm.AfterLoss(errors.New("gone")))
	check("libvirt is lost", 5, `hypervisor_type="kvm"`)
	source.now = source.heard.Add(grace - 1)
	check("time passes", 5, `hypervisor_type="kvm"`)
	source.now = source.heard.Add(grace)
	check("the grace period ends by itself", 6, `hypervisor_type="unknown"`)

	get(h, "/metrics", accepted)
	require.Equal(t, 7, renders, "another form is another page")
}

func TestPagesKeepNoErrors(t *testing.T) {
	calls := 0
	h := &pages{
		config: Config{Source: fixed(start(shopWeb)), Now: time.Now, Logger: slog.New(slog.DiscardHandler)},
		metrics: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			calls++
			return nil, errors.New("exceeded")
		}),
	}
	for range 2 {
		require.Equal(t, http.StatusInternalServerError, get(h, "/metrics", "").Code)
	}
	require.Equal(t, 2, calls)
}

func TestGzip(t *testing.T) {
	h := handler(running(shopWeb, domainXML("kvm")), t0)
	plain := get(h, "/metrics", "")
	for accept, want := range map[string]bool{
		"":                      false,
		"identity":              false,
		"gzip":                  true,
		"deflate, GZIP;q=0.5":   true,
		"gzip;q=0":              false,
		"gzip; q=0.000, *;q=1":  false,
		"br, zstd, gzip, x;q=1": true,
	} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept-Encoding", accept)
		response := httptest.NewRecorder()
		h.ServeHTTP(response, request)
		if !want {
			require.Empty(t, response.Header().Get("Content-Encoding"), accept)
			require.Equal(t, plain.Body.String(), response.Body.String(), accept)
			continue
		}
		require.Equal(t, "gzip", response.Header().Get("Content-Encoding"), accept)
		reader, err := gzip.NewReader(response.Body)
		require.NoError(t, err)
		body, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, plain.Body.String(), string(body), accept)
	}
	require.ElementsMatch(t, []string{"Accept", "Accept-Encoding"}, plain.Header().Values("Vary"))
}

func TestPaths(t *testing.T) {
	running := running(shopWeb, domainXML("kvm"))
	for _, test := range []struct {
		name     string
		snapshot hypervisor.Snapshot
		ready    bool
		path     string
		code     int
		answer   string
	}{
		{"no other page", running, true, "/other", 404, "not found"},
		{"health", start(hypervisor.Identity{}), false, "/healthz", 200, "ok"},
		{"ready", start(shopWeb), true, "/readyz", 200, "ok"},
		{"not ready: identity", start(hypervisor.Identity{}), true, "/readyz", 503, "identity"},
		{"not ready: listener", start(shopWeb), false, "/readyz", 503, "listener"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewHandler(Config{Source: fixed(test.snapshot), Now: time.Now, Ready: func() bool { return test.ready }})
			response := get(h, test.path, "")
			require.Equal(t, test.code, response.Code)
			require.Contains(t, response.Body.String(), test.answer)
		})
	}
	post := httptest.NewRecorder()
	handler(running, t0).ServeHTTP(post, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	require.Equal(t, http.StatusMethodNotAllowed, post.Code)
}
