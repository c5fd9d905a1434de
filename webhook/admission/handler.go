// Package admission answers AdmissionReviews over HTTP: bytes → review → pod →
// decision (packages inject and refusals) → patch → bytes.
//
// It never denies. If something goes wrong with a review, the answer is allowed with a
// warning; anything but a review gets an HTTP error, which the API server treats as
// failurePolicy says (Ignore).
package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"kubevirt-hypervisor-exporter/webhook/refusals"
)

// Path is where the API server sends reviews.
const Path = "/mutate"

// Handler is the http.Handler for Path.
type Handler struct {
	judge   judge
	metrics *Metrics
	log     *outcomeLog

	bodies   *budget
	decoding *budget
	draining atomic.Bool
}

// NewHandler returns a Handler that calls decide for each pod, possibly concurrently. decide may
// panic.
func NewHandler(decide Decider, metrics *Metrics, logger *slog.Logger) *Handler {
	return &Handler{
		judge: rememberRefusals(decide, refusals.New(time.Now)), metrics: metrics, log: newOutcomeLog(logger),
		bodies:   newBodyBudget(),
		decoding: newDecodeBudget(),
	}
}

// Drain makes every answer from now on ask the client to close its connection. The API server
// speaks HTTP/1.1 to webhooks and never repeats a POST, so we must not close an idle connection;
// this way it closes them itself and turns to another replica.
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
		_, _ = w.Write(answer) // fails if the API server has gone, which it counts itself
	} else {
		refuse(w, result.problem.kind)
	}
	h.metrics.count(result, time.Since(start))
	h.log.write(&result)
}

// serve returns the answer, or none and the problem that prevents one.
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
	received := share{of: h.bodies}
	defer received.release()
	body, problem := readBody(ctx, w, r, &received)
	if problem != nil {
		return nil, outcome{problem: problem}
	}
	if !utf8.Valid(body) {
		// An API server sends only UTF-8. For each other byte the decoder would write three.
		return nil, failed(NotAReview, errors.New("the body is not UTF-8"))
	}
	values, err := countValues(body)
	if err != nil {
		return nil, failed(TooComplex, err)
	}
	decoded := share{of: h.decoding}
	defer decoded.release()
	// The text of a string is copied once, and twice for a moment where it has escapes.
	if err := decoded.raise(ctx, int64(2*len(body)+values*valueCost)); err != nil {
		return nil, failed(Overloaded, fmt.Errorf("no memory to decode it within %s", patience))
	}
	return answerTo(body, h.judge)
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

// refuse answers with an HTTP error and closes the connection, because the body may be unread.
func refuse(w http.ResponseWriter, kind Problem) {
	w.Header().Set("Connection", "close")
	if kind == WrongMethod {
		w.Header().Set("Allow", http.MethodPost)
	}
	if kind == Overloaded {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, kind.Sentence(), problems[kind].status)
}
