package scrape

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// An outcome is why a scrape brought no page; nil is that it did. As an error it says
// what the log is to say.
//
// What can fail in a scrape returns *outcome and not error: the compiler sees to it that no
// failure goes without a result, and so is neither counted nor answered as a page.
type outcome struct {
	result Result
	status int // the pod's, where result is Status
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

// sentence is the answer's text: nothing that the pod chose but three digits.
func (o *outcome) sentence() string {
	if o.result == Status {
		return fmt.Sprintf("%s: %d", o.result.Sentence(), o.status)
	}
	return o.result.Sentence()
}

// dialOutcome says what it means that there is no connection to the pod.
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

// transferOutcome says what it means that a connection to the pod failed.
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

// headOutcome says what it means that a response's head could not be read.
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
