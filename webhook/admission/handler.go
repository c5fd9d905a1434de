// Package admission answers AdmissionReviews over HTTP: bytes → review → pod →
// decision (package inject) → patch → bytes.
//
// It never denies. Whatever goes wrong with a review is answered with allowed
// and a warning; what is no review gets an HTTP error, which the API server
// treats as failurePolicy says (Ignore).
package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Path is where the API server sends reviews.
const Path = "/mutate"

// Handler is the http.Handler for Path.
type Handler struct {
	decide  Decider
	metrics *Metrics
	logger  *slog.Logger

	work     gate
	large    gate
	buffers  sync.Pool
	draining atomic.Bool
}

// NewHandler makes a Handler that asks decide about each pod. decide may be
// called concurrently and may panic.
func NewHandler(decide Decider, metrics *Metrics, logger *slog.Logger) *Handler {
	return &Handler{
		decide: decide, metrics: metrics, logger: logger,
		work:    make(gate, workers()),
		large:   make(gate, largeAtOnce),
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// Drain makes every answer from now on ask the client to close its connection.
// The API server speaks HTTP/1.1 to webhooks and never repeats a POST, so an
// idle connection must not be closed under it; it closes them itself this way
// and turns to another replica.
func (h *Handler) Drain() { h.draining.Store(true) }

// ServeHTTP answers one review.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.metrics.inFlight.Inc()
	defer h.metrics.inFlight.Dec()
	if h.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	answer, result := h.serve(w, r)
	if answer != nil {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer) // the API server has gone; it has counted that itself
	} else {
		refuse(w, result.problem.kind)
	}
	h.metrics.count(result, time.Since(start))
	result.log(h.logger)
}

// serve gives the answer, or none and the problem that prevents one.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (answer []byte, result outcome) {
	defer func() {
		if p := recover(); p != nil {
			answer, result = nil, outcome{problem: &problem{Panicked, fmt.Errorf("panic: %v", p), debug.Stack()}}
		}
	}()
	if kind, err := checkHeader(r); err != nil {
		return nil, failed(kind, err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if isLarge(r) {
		if !h.large.enter(ctx) {
			return nil, failed(Overloaded, errors.New("too many large bodies at once"))
		}
		defer h.large.leave()
	}
	buffer := h.buffers.Get().(*bytes.Buffer)
	defer h.giveBack(buffer)
	if kind, err := readBody(w, r, buffer); err != nil {
		return nil, failed(kind, err)
	}
	if !h.work.enter(ctx) {
		return nil, failed(Overloaded, errors.New("no turn within "+patience.String()))
	}
	defer h.work.leave()
	return answerTo(buffer.Bytes(), h.decide)
}

// giveBack keeps a buffer for the next request unless it grew beyond what any
// ordinary request needs: one large body must not stay in memory for ever.
func (h *Handler) giveBack(buffer *bytes.Buffer) {
	if buffer.Cap() <= smallBody {
		buffer.Reset()
		h.buffers.Put(buffer)
	}
}

func checkHeader(r *http.Request) (Problem, error) {
	if r.Method != http.MethodPost {
		return WrongMethod, fmt.Errorf("method %.16q", r.Method)
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/json" {
		return WrongContentType, fmt.Errorf("content type %.64q", r.Header.Get("Content-Type"))
	}
	return 0, nil
}

// refuse answers with an HTTP error.
func refuse(w http.ResponseWriter, kind Problem) {
	status := http.StatusBadRequest
	switch kind {
	case WrongMethod:
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", http.MethodPost)
	case WrongContentType:
		status = http.StatusUnsupportedMediaType
	case TooLarge:
		status = http.StatusRequestEntityTooLarge
	case Overloaded:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case Panicked:
		status = http.StatusInternalServerError
	case UnreadableBody, NotAReview, UnreadableReview, UnknownVersion, NotAPodCreation, UnreadablePod, UnencodablePatch:
	}
	http.Error(w, kind.Sentence(), status)
}
