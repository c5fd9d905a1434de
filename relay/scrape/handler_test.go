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

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n"

// world is a relay's handler behind a real server, over real sockets.
type world struct {
	kubelet  podtest.Kubelet
	url      string
	client   *http.Client
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newWorld(t *testing.T, change func(*scrape.Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{kubelet: podtest.Kubelet{Dir: dir}, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	config := scrape.Config{
		Pods: podsocket.New(dir), Timeout: 10 * time.Second, MaxResponseBytes: 1 << 16, MaxInFlight: 256, MaxInFlightPod: 4,
		Registry: w.registry, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	server := httptest.NewServer(scrape.NewHandler(config))
	w.url = server.URL
	w.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return w
}

// pod adds a pod whose listener does as it likes with each connection, once the
// request has come.
func (w *world) pod(t *testing.T, answer func(net.Conn)) podtest.Pod {
	t.Helper()
	pod, err := w.kubelet.AddPod()
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

func says(text string) func(net.Conn) {
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

func (w *world) get(ctx context.Context, uid podsocket.UID, header ...string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/pods/"+string(uid)+"/metrics", nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response, string(content), err
}

func (w *world) counted(result scrape.Result) int {
	families, err := w.registry.Gather()
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

func TestAnswers(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		code   int
		says   string
		result scrape.Result
	}{
		{"page", says(page), 200, "a 1\n", scrape.OK},
		{"hung up", says(""), 502, "broke off", scrape.CutOff},
		{"not HTTP", says("SSH-2.0\r\n"), 502, "no exposition", scrape.Malformed},
		{"its own 503", says("HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nsecret"), 502, "the pod answered with a status other than 200: 503\n", scrape.Status},
		{"a redirect", says("HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\n\r\n"), 502, "200: 302\n", scrape.Status},
		{"a large page", says("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 70000\r\n\r\n"), 502, "larger than the relay's limit", scrape.TooLarge},
		{"hangs", hang, 504, "in time", scrape.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := w.pod(t, c.answer)
			before := w.counted(c.result)
			response, content, err := w.get(t.Context(), pod.UID, "X-Prometheus-Scrape-Timeout-Seconds", "0.3")
			require.NoError(t, err)
			require.Equal(t, c.code, response.StatusCode)
			require.Contains(t, content, c.says)
			require.NotContains(t, content, "secret")
			require.Empty(t, response.Header.Get("Location"))
			require.Equal(t, before+1, w.counted(c.result))
		})
	}
	require.NoError(t, testutil.GatherAndCompare(w.registry, strings.NewReader(
		"# HELP hypervisor_exporter_relay_scrapes_in_flight Scrapes of pods under way.\n# TYPE hypervisor_exporter_relay_scrapes_in_flight gauge\nhypervisor_exporter_relay_scrapes_in_flight 0\n",
	), "hypervisor_exporter_relay_scrapes_in_flight"))
}

// TestNoStatusOfThePodPasses: whatever code a pod answers with, the relay's is 502, or 200 for a page. So 401, 403 and 429
// are the relay's own, and end a client's questions to all relays only if the relay means it.
func TestNoStatusOfThePodPasses(t *testing.T) {
	w := newWorld(t, nil)
	var code atomic.Int32
	pod := w.pod(t, func(conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.1 %03d Of the pod's choice\r\nWWW-Authenticate: Bearer\r\nRetry-After: 9\r\nLocation: http://localhost/\r\n"+
			"Content-Type: text/plain; version=0.0.4\r\nContent-Length: 4\r\n\r\na 1\n", code.Load())
	})
	for of := range 1000 {
		code.Store(int32(of))
		response, content, err := w.get(t.Context(), pod.UID)
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
	require.Equal(t, 1, w.counted(scrape.OK))
	require.Equal(t, 300, w.counted(scrape.Status))
	require.Equal(t, 699, w.counted(scrape.Malformed))
}

// TestBrokenPages: a page that has begun and cannot be ended fails at the client,
// however much of it has arrived.
func TestBrokenPages(t *testing.T) {
	w := newWorld(t, nil)
	const start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		result scrape.Result
	}{
		{"less than promised", says(start + "Content-Length: 9000\r\n\r\n" + strings.Repeat("a 1\n", 2000)), scrape.CutOff},
		{"chunks cut off", says(start + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n"), scrape.CutOff},
		{"a flood", flood, scrape.TooLarge},
		{"a drip", drip, scrape.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod, before := w.pod(t, c.answer), w.counted(c.result)
			_, content, err := w.get(t.Context(), pod.UID, "X-Prometheus-Scrape-Timeout-Seconds", "0.5")
			require.Error(t, err, "%q", content)
			require.LessOrEqual(t, len(content), 1<<16)
			require.Eventually(t, func() bool { return w.counted(c.result) == before+1 }, 10*time.Second, time.Millisecond)
		})
	}
}

// TestOnlyStatusAndBodyPass: no header of the pod's reaches the scraper but two.
func TestOnlyStatusAndBodyPass(t *testing.T) {
	w := newWorld(t, nil)
	pod := w.pod(t, says("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n"+
		"Set-Cookie: a=b\r\nX-Evil: y\r\nConnection: X-Evil\r\nServer: pod\r\nDate: never\r\nStrict-Transport-Security: max-age=1\r\n\r\n\x1f\x8b"))
	response, content, err := w.get(t.Context(), pod.UID, "Accept-Encoding", "gzip")
	require.NoError(t, err)
	require.Equal(t, "\x1f\x8b", content, "the page passes as it is")
	require.NotEqual(t, "never", response.Header.Get("Date"))
	response.Header.Del("Date")
	require.Equal(t, http.Header{"Content-Type": {"text/plain; version=0.0.4"}, "Content-Encoding": {"gzip"}, "Content-Length": {"2"}}, response.Header)
}

// TestClientHangsUp: a scrape that nobody waits for ends at once.
func TestClientHangsUp(t *testing.T) {
	w := newWorld(t, nil)
	asked, ended := make(chan struct{}), make(chan struct{})
	pod := w.pod(t, func(conn net.Conn) {
		close(asked)
		hang(conn)
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, _, err := w.get(ctx, pod.UID)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the relay still waits for the pod")
	}
	require.Eventually(t, func() bool { return w.counted(scrape.ClientGone) == 1 }, 5*time.Second, time.Millisecond)
}

func TestGoneAndRefused(t *testing.T) {
	w := newWorld(t, nil)
	response, _, err := w.get(t.Context(), "00000000-0000-4000-8000-000000000000")
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, response.StatusCode)

	pod, err := w.kubelet.AddPod()
	require.NoError(t, err)
	listener, err := pod.Listen()
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	response, _, err = w.get(t.Context(), pod.UID)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
}
