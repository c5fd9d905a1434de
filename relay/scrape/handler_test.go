package scrape_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n"

// A relay is the handler behind a real server, over real sockets.
type relay struct {
	kubelet  podtest.Kubelet
	url      string
	client   *http.Client
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newRelay(t *testing.T, change func(*scrape.Config)) *relay {
	t.Helper()
	dir := t.TempDir()
	r := &relay{kubelet: podtest.Kubelet{Dir: dir}, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	config := scrape.Config{
		Pods: podsocket.New(dir), Timeout: 10 * time.Minute, MaxResponseBytes: 1 << 16, MaxInFlight: 256, MaxInFlightPod: 4,
		Registry: r.registry, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	server := httptest.NewServer(scrape.NewHandler(config))
	r.url = server.URL
	r.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return r
}

// pod adds a pod that answers each connection, once the
// request has come.
func (r *relay) pod(t *testing.T, answer func(net.Conn)) podtest.Pod {
	t.Helper()
	pod, err := r.kubelet.AddPod()
	require.NoError(t, err)
	listener, err := pod.Listen()
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return pod
}

func answers(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// hang holds the connection until the relay gives up.
func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// flood sends without end.
func flood(conn net.Conn) {
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nTransfer-Encoding: chunked\r\n\r\n")
	for {
		if _, err := io.WriteString(conn, "400\r\n"+strings.Repeat("a", 1024)+"\r\n"); err != nil {
			return
		}
	}
}

// drip begins a page and sends a byte now and then.
func drip(conn net.Conn) {
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 1000\r\n\r\n")
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := io.WriteString(conn, "a"); err != nil {
			return
		}
	}
}

func (r *relay) get(ctx context.Context, uid podsocket.UID, header ...string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/pods/"+string(uid)+"/metrics", nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response, string(content), err
}

func (r *relay) counted(result scrape.Result) int {
	families, err := r.registry.Gather()
	if err != nil {
		return -1
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "hypervisor_exporter_relay_scrapes_total" && metric.GetLabel()[0].GetValue() == result.String() {
				return int(metric.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// awaitCounted waits until at least so many scrapes ended with the result.
func (r *relay) awaitCounted(t *testing.T, result scrape.Result, least int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if got := r.counted(result); got < least {
			return fmt.Errorf("%d scrapes ended with %s, want %d", got, result, least)
		}
		return nil
	})
}

func TestAnswers(t *testing.T) {
	r := newRelay(t, nil)
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		code   int
		text   string
		result scrape.Result
	}{
		{"page", answers(page), 200, "a 1\n", scrape.OK},
		{"hung up", answers(""), 502, "closed the connection early", scrape.CutOff},
		{"not HTTP", answers("SSH-2.0\r\n"), 502, "not an exposition", scrape.Malformed},
		{"its own 503", answers("HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nsecret"), 502, "the pod answered with a status other than 200: 503\n", scrape.Status},
		{"a redirect", answers("HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\n\r\n"), 502, "200: 302\n", scrape.Status},
		{"a large page", answers("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 70000\r\n\r\n"), 502, "larger than the relay's limit", scrape.TooLarge},
		{"hangs", hang, 504, "in time", scrape.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := r.pod(t, c.answer)
			before := r.counted(c.result)
			var header []string
			if c.result == scrape.Timeout {
				header = []string{"X-Prometheus-Scrape-Timeout-Seconds", "0.3"}
			}
			response, content, err := r.get(t.Context(), pod.UID, header...)
			require.NoError(t, err)
			require.Equal(t, c.code, response.StatusCode)
			require.Contains(t, content, c.text)
			require.NotContains(t, content, "secret")
			require.Empty(t, response.Header.Get("Location"))
			require.Equal(t, before+1, r.counted(c.result))
		})
	}
	require.NoError(t, testutil.GatherAndCompare(r.registry, strings.NewReader(
		"# HELP hypervisor_exporter_relay_scrapes_in_flight Scrapes of pods under way.\n# TYPE hypervisor_exporter_relay_scrapes_in_flight gauge\nhypervisor_exporter_relay_scrapes_in_flight 0\n",
	), "hypervisor_exporter_relay_scrapes_in_flight"))
}

// TestNoStatusOfThePodPasses: whatever code a pod answers with, the relay's is 502, or 200 for a page. So 401, 403 and 429
// are always the relay's own.
func TestNoStatusOfThePodPasses(t *testing.T) {
	r := newRelay(t, nil)
	var code atomic.Int32
	pod := r.pod(t, func(conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.1 %03d Of the pod's choice\r\nWWW-Authenticate: Bearer\r\nRetry-After: 9\r\nLocation: http://localhost/\r\n"+
			"Content-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n", code.Load())
	})
	for of := range 1000 {
		code.Store(int32(of))
		response, content, err := r.get(t.Context(), pod.UID)
		require.NoError(t, err)
		if of == http.StatusOK {
			require.Equal(t, http.StatusOK, response.StatusCode)
			continue
		}
		require.Equal(t, http.StatusBadGateway, response.StatusCode, of)
		require.Equal(t, of >= 300 && of <= 599, strings.HasSuffix(content, fmt.Sprintf(" %d\n", of)), "%d: %s", of, content)
		for _, header := range []string{"WWW-Authenticate", "Retry-After", "Location"} {
			require.Empty(t, response.Header.Get(header), of)
		}
	}
	require.Equal(t, 1, r.counted(scrape.OK))
	require.Equal(t, 300, r.counted(scrape.Status))
	require.Equal(t, 699, r.counted(scrape.Malformed))
}

// TestBrokenPages: a page that has begun and cannot be ended fails at the client,
// however much of it has arrived.
func TestBrokenPages(t *testing.T) {
	r := newRelay(t, nil)
	const start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		result scrape.Result
	}{
		{"less than promised", answers(start + "Content-Length: 9000\r\n\r\n" + strings.Repeat("a 1\n", 2000)), scrape.CutOff},
		{"chunks cut off", answers(start + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n"), scrape.CutOff},
		{"a flood", flood, scrape.TooLarge},
		{"a drip", drip, scrape.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod, before := r.pod(t, c.answer), r.counted(c.result)
			var header []string
			if c.result == scrape.Timeout {
				header = []string{"X-Prometheus-Scrape-Timeout-Seconds", "0.5"}
			}
			_, content, err := r.get(t.Context(), pod.UID, header...)
			require.Error(t, err, "%q", content)
			require.LessOrEqual(t, len(content), 1<<16)
			r.awaitCounted(t, c.result, before+1)
		})
	}
}

// TestOnlyStatusAndBodyPass: no header of the pod's reaches the scraper but two.
func TestOnlyStatusAndBodyPass(t *testing.T) {
	r := newRelay(t, nil)
	pod := r.pod(t, answers("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n"+
		"Set-Cookie: a=b\r\nX-Evil: y\r\nConnection: X-Evil\r\nServer: pod\r\nDate: never\r\nStrict-Transport-Security: max-age=1\r\n\r\n\x1f\x8b"))
	response, content, err := r.get(t.Context(), pod.UID, "Accept-Encoding", "gzip")
	require.NoError(t, err)
	require.Equal(t, "\x1f\x8b", content, "the page passes as it is")
	require.NotEqual(t, "never", response.Header.Get("Date"))
	response.Header.Del("Date")
	require.Equal(t, http.Header{"Content-Type": {"text/plain; version=0.0.4"}, "Content-Encoding": {"gzip"}, "Content-Length": {"2"}}, response.Header)
}

// TestClientHangsUp: a scrape that no one waits for ends at once.
func TestClientHangsUp(t *testing.T) {
	r := newRelay(t, nil)
	asked, ended := make(chan struct{}), make(chan struct{})
	pod := r.pod(t, func(conn net.Conn) {
		close(asked)
		hang(conn)
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, _, err := r.get(ctx, pod.UID)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Fatal("the relay still waits for the pod")
	}
	r.awaitCounted(t, scrape.ClientGone, 1)
}

// TestPassedOnAsItComes: no page is held back until it is whole. This pod goes on
// with its page only when the scraper has some of it.
func TestPassedOnAsItComes(t *testing.T) {
	r := newRelay(t, nil)
	half := strings.Repeat("a 1\n", 4<<10) // more than the buffers on the way hold
	arrived := make(chan struct{})
	pod := r.pod(t, func(conn net.Conn) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s", 2*len(half), half)
		select {
		case <-arrived:
			_, _ = io.WriteString(conn, half)
		case <-t.Context().Done():
		}
	})
	response, err := r.client.Get(r.url + "/pods/" + string(pod.UID) + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	first := make([]byte, len(half)/2)
	_, err = io.ReadFull(response.Body, first)
	require.NoError(t, err)
	close(arrived)
	rest, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, half+half, string(first)+string(rest))
}

// TestOneHostileAmongMany: a pod that hangs, drips or floods, and is scraped far more
// often than the others, costs them nothing: each of their scrapes goes through.
func TestOneHostileAmongMany(t *testing.T) {
	count := 24
	if testkit.Soak() {
		count = 249
	}
	for name, hostile := range map[string]func(net.Conn){"hangs": hang, "drips": drip, "floods": flood} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, func(c *scrape.Config) { c.MaxInFlight = 16 })
			enemy := r.pod(t, hostile)
			ctx, cancel := context.WithCancel(t.Context())
			var scrapers sync.WaitGroup
			defer scrapers.Wait()
			defer cancel()
			for range 32 {
				scrapers.Go(func() {
					for ctx.Err() == nil {
						_, _, _ = r.get(ctx, enemy.UID)
						select { // a scraper, not a busy loop
						case <-ctx.Done():
						case <-time.After(5 * time.Millisecond):
						}
					}
				})
			}
			if name != "floods" {
				r.awaitCounted(t, scrape.PodBusy, 1)
			}
			for range count {
				response, content, err := r.get(t.Context(), r.pod(t, answers(page)).UID)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, response.StatusCode, content)
			}
			require.Zero(t, r.counted(scrape.RelayBusy))
		})
	}
}

// TestRelayBusy: above the limit for all pods, the answer is a reason, at once.
func TestRelayBusy(t *testing.T) {
	r := newRelay(t, func(c *scrape.Config) { c.MaxInFlight = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	var arrived sync.WaitGroup
	for range 2 {
		arrived.Add(1)
		pod := r.pod(t, func(conn net.Conn) { arrived.Done(); hang(conn) })
		waiting.Go(func() { _, _, _ = r.get(ctx, pod.UID) })
	}
	arrived.Wait()
	response, content, err := r.get(t.Context(), r.pod(t, answers(page)).UID)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, fmt.Sprintln(scrape.RelayBusy.Sentence()), content)
}
