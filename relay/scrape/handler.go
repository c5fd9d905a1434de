package scrape

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// copyBuffer is what is passed on at a time. The sidecar's page has 3 kB.
const copyBuffer = 4 << 10

// Dialer connects to pods' sockets; its errors are those of podsocket.
type Dialer interface {
	Dial(ctx context.Context, uid podsocket.UID) (net.Conn, error)
}

// Config says how far a scrape may go. All bounds must be more than 0.
type Config struct {
	Pods Dialer
	// Timeout bounds a scrape whose scraper would wait longer or does not say.
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
	config  Config
	gate    *gate
	metrics metrics
	changes *changes
	buffers sync.Pool
}

// NewHandler registers its metrics and makes the handler.
func NewHandler(config Config) *Handler {
	gate := newGate(config.MaxInFlight, config.MaxInFlightPod)
	return &Handler{
		config:  config,
		gate:    gate,
		metrics: newMetrics(config.Registry, gate),
		changes: newChanges(config.Logger),
		buffers: sync.Pool{New: func() any { return new([copyBuffer]byte) }},
	}
}

// ServeHTTP implements http.Handler. A page that breaks off half way breaks off the
// connection, so that the scrape fails: a page cut short would be a lie.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	uid, ok := ParsePath(r.URL.EscapedPath())
	if !ok {
		http.Error(w, "want /pods/{pod-uid}/metrics, the uid in lower case", http.StatusNotFound)
		return
	}
	if result := h.gate.enter(uid); result != OK {
		h.metrics.scrapes.WithLabelValues(result.String()).Inc()
		http.Error(w, result.Sentence(), result.Code())
		return
	}
	defer h.gate.leave(uid)
	began := time.Now()
	started, end := h.carry(w, r, uid)
	h.metrics.duration.Observe(time.Since(began).Seconds())
	h.note(uid, end)
	switch {
	case end == nil:
	case started:
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, end.sentence(), end.result.Code())
	}
}

// note counts and logs how a scrape ended.
func (h *Handler) note(uid podsocket.UID, end *outcome) {
	if end == nil {
		h.metrics.scrapes.WithLabelValues(OK.String()).Inc()
		h.changes.note(uid, OK, nil)
		return
	}
	h.metrics.scrapes.WithLabelValues(end.result.String()).Inc()
	h.changes.note(uid, end.result, end)
}

// carry takes the scrape to the pod and the page back. started tells that the
// answer has begun.
func (h *Handler) carry(w http.ResponseWriter, r *http.Request, uid podsocket.UID) (started bool, end *outcome) {
	defer func() {
		if end != nil && r.Context().Err() != nil {
			end = failed(ClientGone, "%w", context.Cause(r.Context()))
		}
	}()
	question := newAsk(r.Header, h.config.Timeout)
	deadline := time.Now().Add(question.timeout)
	conn, end := h.dial(r.Context(), deadline, uid)
	if end != nil {
		return false, end
	}
	defer func() { _ = conn.Close() }()
	// Whoever asked may hang up: the deadline then passes at once.
	defer context.AfterFunc(r.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := question.write(conn); err != nil {
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

// write sets what of the pod's head passes.
func (h head) write(header http.Header) {
	header.Set("Content-Type", h.contentType)
	if h.encoding != "" {
		header.Set("Content-Encoding", h.encoding)
	}
	if h.length >= 0 {
		header.Set("Content-Length", strconv.FormatInt(h.length, 10))
	}
}
