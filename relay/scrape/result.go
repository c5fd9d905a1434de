package scrape

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// A Result is how a scrape ended. It is a label of the metric, so there are few.
type Result int

const (
	// OK: the page went through whole.
	OK Result = iota
	// Gone: no such pod on the node, or no socket in it.
	Gone
	// Foreign: something other than a socket of the pod's own is in its place.
	Foreign
	// Unusable: the socket is there and cannot be connected to.
	Unusable
	// Refused: nothing listens on the socket, as while the sidecar restarts.
	Refused
	// Timeout: the pod did not answer, or not all of it, in time.
	Timeout
	// Malformed: the answer is not one that passes.
	Malformed
	// TooLarge: the page is larger than Config.MaxResponseBytes.
	TooLarge
	// CutOff: the pod closed the connection early.
	CutOff
	// Status: the pod answered with a status other than 200. Its code is in the answer's
	// text only: as the answer's own, 401 or 403 would be the relay's word on the token.
	Status
	// PodBusy: too many scrapes of the pod are under way.
	PodBusy
	// RelayBusy: too many scrapes of all pods are under way.
	RelayBusy
	// NodeFault: the kubelet's folder cannot be opened: the relay's own fault.
	NodeFault
	// ClientGone: the scraper has closed the connection.
	ClientGone
)

// statusClientGone is what nginx logs, as there is no one left to send it to.
const statusClientGone = 499

// results has a row for each Result: the value of the metric's label, the answer's HTTP status, and its text. The
// status is the relay's: nothing that a pod does makes it
// one of those that are about the request or the token (401, 403, 429 of the guard).
var results = [...]struct {
	label    string
	code     int
	sentence string
}{
	OK:         {"ok", http.StatusOK, "ok"},
	Gone:       {"gone", http.StatusNotFound, "no such pod on this node, or no socket in it"},
	Foreign:    {"foreign", http.StatusBadGateway, "what is in the socket's place is not a socket of the pod's own"},
	Unusable:   {"unusable", http.StatusBadGateway, "the pod's socket cannot be connected to; see the relay's log"},
	Refused:    {"refused", http.StatusServiceUnavailable, "nothing listens on the pod's socket: the sidecar is not running"},
	Timeout:    {"timeout", http.StatusGatewayTimeout, "the pod did not answer in time"},
	Malformed:  {"malformed", http.StatusBadGateway, "the pod's answer is not an exposition of metrics; see the relay's log"},
	TooLarge:   {"too_large", http.StatusBadGateway, "the pod's page is larger than the relay's limit"},
	CutOff:     {"cut_off", http.StatusBadGateway, "the pod closed the connection early"},
	Status:     {"status", http.StatusBadGateway, "the pod answered with a status other than 200"},
	PodBusy:    {"pod_busy", http.StatusTooManyRequests, "too many scrapes of this pod are under way"},
	RelayBusy:  {"relay_busy", http.StatusServiceUnavailable, "too many scrapes are under way"},
	NodeFault:  {"node_fault", http.StatusInternalServerError, "the kubelet's folder of pods cannot be opened; see the relay's log"},
	ClientGone: {"client_gone", statusClientGone, "the scraper has closed the connection"},
}

// String returns the value of the metric's label.
func (r Result) String() string { return results[r].label }

// Code returns the HTTP status of the answer.
func (r Result) Code() int { return results[r].code }

// Sentence returns the text of the answer.
func (r Result) Sentence() string { return results[r].sentence }

// An outcome is why a scrape brought no page; nil means that it did. As an error it is
// for the log.
//
// What can fail in a scrape returns *outcome and not error: the compiler ensures that no
// failure lacks a result, and so is neither counted nor answered as a page.
type outcome struct {
	result Result
	status int // the pod's, if result is Status
	err    error
}

func failed(result Result, format string, args ...any) *outcome {
	return &outcome{result: result, err: fmt.Errorf(format, args...)}
}

func failedStatus(status int) *outcome {
	return &outcome{result: Status, status: status, err: fmt.Errorf("the pod answered with status %d", status)}
}

func (o *outcome) Error() string { return fmt.Sprintf("%s: %v", o.result, o.err) }

func (o *outcome) Unwrap() error { return o.err }

// sentence returns the answer's text: nothing that the pod chose but three digits.
func (o *outcome) sentence() string {
	if o.result == Status {
		return fmt.Sprintf("%s: %d", o.result.Sentence(), o.status)
	}
	return o.result.Sentence()
}

// dialOutcome classifies a failure to connect to the pod.
func dialOutcome(err error) *outcome {
	result := Unusable
	switch {
	case errors.Is(err, podsocket.ErrGone):
		result = Gone
	case errors.Is(err, podsocket.ErrForeign):
		result = Foreign
	case errors.Is(err, podsocket.ErrRefused):
		result = Refused
	case errors.Is(err, podsocket.ErrNode):
		result = NodeFault
	}
	return failed(result, "%w", err)
}

// transferOutcome classifies a failure of a connection to the pod.
func transferOutcome(err error, what string) *outcome {
	var known *outcome
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failed(Timeout, "%s: %w", what, err)
	default:
		return failed(CutOff, "%s: %w", what, err)
	}
}

// headOutcome classifies a failure to read a response's head.
func headOutcome(err error) *outcome {
	var network net.Error
	switch {
	case errors.As(err, &network):
		return transferOutcome(err, "wait for the answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		return failed(CutOff, "wait for the answer: %w", err)
	default:
		return failed(Malformed, "not HTTP: %.100q", err.Error())
	}
}
