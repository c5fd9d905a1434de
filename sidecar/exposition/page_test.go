package exposition

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
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
	renders := 0
	render := renderer(Config{Source: source, Now: func() time.Time { return source.now }, Logger: promslog.NewNopLogger()})
	h := &pages{
		config: Config{Source: source, Now: func() time.Time { return source.now }},
		render: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			renders++
			render.ServeHTTP(w, r)
		}),
	}
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
	get(h, "/metrics?name[]=hypervisor_exporter_libvirt_up", "")
	get(h, "/metrics?name[]=hypervisor_exporter_libvirt_up", "")
	require.Equal(t, 9, renders, "a query is not kept")
}

// slow is a Source whose first reader gets the snapshot of that moment, and then stands
// still until it is released: a gather that lasts.
type slow struct {
	changing
	mu    sync.Mutex
	reads int
	began chan struct{} // closed when the first reader has it
	goOn  chan struct{}
}

func (s *slow) Snapshot() *hypervisor.Snapshot {
	s.mu.Lock()
	s.reads++
	first, current := s.reads == 1, s.current
	s.mu.Unlock()
	if first {
		close(s.began)
		<-s.goOn
	}
	return current
}

func (s *slow) move(snapshot hypervisor.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = &snapshot
}

// TestScrapeJoinsNoOlder: a scrape that begins after a change shows it, though another
// one, with a query or without a kept page, is still gathering what was before.
func TestScrapeJoinsNoOlder(t *testing.T) {
	for name, runtimeMetrics := range map[string]bool{"kept pages": false, "runtime metrics": true} {
		t.Run(name, func(t *testing.T) {
			source := &slow{changing: changing{now: t0, heard: t0}, began: make(chan struct{}), goOn: make(chan struct{})}
			source.move(running(shopWeb, domainXML("kvm")))
			h := NewHandler(Config{
				Source: source, Now: func() time.Time { return t0 }, Ready: func() bool { return true },
				TelemetryPath: "/metrics", RuntimeMetrics: runtimeMetrics, Logger: promslog.NewNopLogger(),
			})
			older := make(chan string)
			go func() { older <- get(h, "/metrics?name[]=kubevirt_vmi_hypervisor_info", "").Body.String() }()
			<-source.began
			source.move(running(shopWeb, domainXML("qemu")))
			newer := make(chan string, 1)
			go func() { newer <- get(h, "/metrics", "").Body.String() }()
			select {
			case page := <-newer:
				require.Contains(t, page, `hypervisor_type="qemu-tcg"`)
			case <-time.After(20 * time.Second):
				require.Fail(t, "the scrape waits for an older one")
			}
			close(source.goOn)
			require.Contains(t, <-older, `hypervisor_type="kvm"`)
		})
	}
}

func TestPagesKeepNoErrors(t *testing.T) {
	calls := 0
	h := &pages{
		config: Config{Source: fixed(start(shopWeb)), Now: time.Now},
		render: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			http.Error(w, "exceeded", http.StatusServiceUnavailable)
		}),
	}
	for range 2 {
		require.Equal(t, http.StatusServiceUnavailable, get(h, "/metrics", "").Code)
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
