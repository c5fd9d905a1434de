package admission

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestNoMemoryLeft(t *testing.T) {
	for name, of := range map[string]func(*Handler) *budget{
		"for bodies":   func(h *Handler) *budget { return h.bodies },
		"for decoding": func(h *Handler) *budget { return h.decoding },
	} {
		t.Run(name, func(t *testing.T) {
			small := string(review(t, virtLauncher(t), nil))
			large := strings.Replace(small, "{", "{"+strings.Repeat(" ", 1<<20), 1)
			synctest.Test(t, func(t *testing.T) {
				decide := func(*inject.Pod) inject.Decision { return inject.Decision{Reason: inject.NoVMI} }
				handler := NewHandler(decide, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
				send := func(body string) int { return post(handler, strings.NewReader(body), len(body)).Code }

				others := share{of: of(handler)}
				require.NoError(t, others.raise(t.Context(), others.of.large.bytes))
				require.Equal(t, http.StatusServiceUnavailable, send(large))
				require.Equal(t, http.StatusOK, send(small), "what is small does not wait behind what is large")

				for others.small < others.of.small.bytes {
					another := share{of: others.of}
					require.NoError(t, another.raise(t.Context(), others.of.smallLimit))
					others.small += another.small
				}
				start := time.Now()
				require.Equal(t, http.StatusServiceUnavailable, send(small))
				require.Equal(t, patience, time.Since(start), "before the API server gives up")

				go func() { time.Sleep(time.Second); others.release() }()
				require.Equal(t, http.StatusOK, send(small), "memory that becomes free is taken")
				for _, b := range []*budget{handler.bodies, handler.decoding} {
					require.True(t, b.small.free.TryAcquire(b.small.bytes), "all of it is given back")
					require.True(t, b.large.free.TryAcquire(b.large.bytes), "all of it is given back")
				}
			})
		})
	}
}

func post(h http.Handler, body io.Reader, length int) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Path, body)
	r.ContentLength = int64(length)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A body takes memory as it arrives, whatever length it promises.
func TestPromisesTakeNoMemory(t *testing.T) {
	for sent, want := range map[int]int64{0: firstRead, firstRead - 1: firstRead, firstRead: 2 * firstRead, 1 << 20: 2 << 20, 7<<20 - 1: 7 << 20} {
		memory := share{of: newBodyBudget()}
		r := httptest.NewRequest(http.MethodPost, Path, io.LimitReader(zeros{}, int64(sent)))
		r.ContentLength = maxBody
		_, problem := readBody(t.Context(), httptest.NewRecorder(), r, &memory)
		require.Equal(t, UnreadableBody, problem.kind, "it ends early")
		require.Equal(t, want, max(memory.small, memory.large), "after %d bytes", sent)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A connection that stops in the middle of a body is given up in time.
func TestStalledBody(t *testing.T) {
	b := newBench(realDecision)
	server := httptest.NewServer(b.handler)
	defer server.Close()
	stalled, end := io.Pipe()
	defer func() { _ = end.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, stalled)
	require.NoError(t, err)
	r.ContentLength = 100
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err, "an answer comes before the body does")
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.InDelta(t, 1, b.problems(UnreadableBody), 0)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestRejectedRequestsAreLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(realDecision)
		lines := func() int { return strings.Count(b.log.String(), "\n") }
		for range 100 {
			post(b.handler, strings.NewReader("{"), 1)
		}
		require.Equal(t, 1, lines())
		post(b.handler, strings.NewReader(strings.Repeat("[", 100)), 100)
		require.Equal(t, 2, lines(), "one reason does not hide another")
		time.Sleep(rejectedEvery)
		post(b.handler, strings.NewReader("{"), 1)
		require.Equal(t, 3, lines())
		require.InDelta(t, 101, b.problems(NotAReview), 0, "all are counted")
	})
}
