package scrape

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// copyBuffer is how much is passed on at a time. The sidecar's page has 3 kB.
const copyBuffer = 4 << 10

// Config bounds the scrapes. All bounds must be more than 0.
type Config struct {
	Pods *podsocket.Pods
	// Timeout bounds a scrape unless its scraper sends a shorter timeout.
	Timeout time.Duration
	// MaxResponseBytes bounds a page as the pod sends it, compressed or not.
	MaxResponseBytes int64
	MaxInFlight      int
	MaxInFlightPod   int
	Registry         prometheus.Registerer
	Logger           *slog.Logger
}

// Handler answers GET /pods/{uid}/metrics.
type Handler struct {
	config   Config
	limiter  *limiter
	scrapes  *prometheus.CounterVec
	duration prometheus.Histogram
	failures *failures
	buffers  sync.Pool
}

// NewHandler registers its metrics and returns the handler. Every result has a series from the start, so that
// a first failure is an increase.
func NewHandler(config Config) *Handler {
	h := &Handler{
		config:  config,
		limiter: newLimiter(config.MaxInFlight, config.MaxInFlightPod),
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hypervisor_exporter_relay_scrapes_total",
			Help: "Scrapes of pods, by how they ended.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hypervisor_exporter_relay_scrape_duration_seconds",
			Help:    "How long scrapes of pods took, failed ones included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .05, .25, 1, 5, 10},
		}),
		failures: newFailures(config.Logger),
		buffers:  sync.Pool{New: func() any { return new([copyBuffer]byte) }},
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hypervisor_exporter_relay_scrapes_in_flight",
		Help: "Scrapes of pods under way.",
	}, func() float64 { return float64(h.limiter.inFlight()) })
	config.Registry.MustRegister(h.scrapes, h.duration, inFlight)
	for _, result := range results {
		h.scrapes.WithLabelValues(result.label)
	}
	return h
}

// ServeHTTP implements http.Handler. If a page ends early, the handler cuts off the
// connection, so that the scrape fails: half a page would be a lie.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	uid, ok := ParsePath(r.URL.EscapedPath())
	if !ok {
		http.Error(w, "the path must be /pods/{pod-uid}/metrics, the uid in lower case", http.StatusNotFound)
		return
	}
	if busy := h.limiter.enter(uid); busy != OK {
		h.scrapes.WithLabelValues(busy.String()).Inc()
		http.Error(w, busy.Sentence(), busy.Code())
		return
	}
	defer h.limiter.leave(uid)
	began := time.Now()
	started, end := h.carry(w, r, uid)
	h.duration.Observe(time.Since(began).Seconds())
	if end == nil {
		h.scrapes.WithLabelValues(OK.String()).Inc()
		h.failures.note(uid, OK, nil)
		return
	}
	h.scrapes.WithLabelValues(end.result.String()).Inc()
	h.failures.note(uid, end.result, end)
	if started {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, end.sentence(), end.result.Code())
}

// carry takes the scrape to the pod and the page back. started reports whether the
// answer has begun.
func (h *Handler) carry(w http.ResponseWriter, r *http.Request, uid podsocket.UID) (started bool, end *outcome) {
	defer func() {
		if end != nil && r.Context().Err() != nil {
			end = failed(ClientGone, "%w", context.Cause(r.Context()))
		}
	}()
	request := newRequest(r.Header, h.config.Timeout)
	deadline := time.Now().Add(request.timeout)
	conn, end := h.dial(r.Context(), deadline, uid)
	if end != nil {
		return false, end
	}
	defer func() { _ = conn.Close() }()
	// If the scraper closes its connection, the deadline passes at once.
	defer context.AfterFunc(r.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := request.write(conn); err != nil {
		return false, transferOutcome(err, "ask for the page")
	}
	head, page, end := readHead(conn, h.config.MaxResponseBytes)
	if end != nil {
		return false, end
	}
	head.write(w.Header())
	return true, h.copy(w, page)
}

func (h *Handler) dial(ctx context.Context, deadline time.Time, uid podsocket.UID) (net.Conn, *outcome) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := h.config.Pods.Dial(ctx, uid)
	if err != nil {
		return nil, dialOutcome(err)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, failed(Unusable, "set the connection's deadline: %w", err)
	}
	return conn, nil
}

// copy passes the page on piece by piece. An error that is not the page's is the client's.
func (h *Handler) copy(w io.Writer, page io.Reader) *outcome {
	buffer := h.buffers.Get().(*[copyBuffer]byte)
	defer h.buffers.Put(buffer)
	// Only Write and Read: net/http's ReadFrom takes a buffer of 32 KiB.
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{page}, buffer[:])
	var end *outcome
	switch {
	case err == nil:
		return nil
	case errors.As(err, &end):
		return end
	default:
		return failed(ClientGone, "pass the page on: %w", err)
	}
}
