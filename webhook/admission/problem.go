package admission

import (
	"fmt"
	"net/http"
)

// Problem is what can go wrong in an admission. It is the reason in metrics and log; none of
// its values comes from a request.
type Problem int

// The problems, in the order in which a request can have them.
const (
	// Up to NotAReview the answer is an HTTP error: there is no review to answer, or none that
	// may be read.
	WrongMethod Problem = iota
	WrongContentType
	UnknownLength
	TooLarge
	UnreadableBody
	Overloaded
	TooComplex
	NotAReview
	// From here on the review is answered: allowed, no patch, with a warning.
	UnreadableReview
	UnknownVersion
	NotAPodCreation
	UnreadablePod
	// Panicked and UnencodablePatch are our own errors.
	Panicked
	UnencodablePatch
)

// problemEntry is all that is known about a problem.
type problemEntry struct {
	// value is for metrics and logs; sentence is for those who create the pod or read the log.
	value, sentence string
	// status is that of the HTTP error, if there is no review to answer.
	status int
}

// problems has an entry for each Problem and is never changed.
var problems = [...]problemEntry{
	WrongMethod:      {"wrong_method", "only POST is answered here", http.StatusMethodNotAllowed},
	WrongContentType: {"wrong_content_type", "the body must be application/json", http.StatusUnsupportedMediaType},
	UnknownLength:    {"unknown_length", "the request must state the length of its body (Content-Length)", http.StatusLengthRequired},
	TooLarge: {"too_large", fmt.Sprintf("the body is larger than %d bytes, more than an API server sends", maxBody),
		http.StatusRequestEntityTooLarge},
	UnreadableBody: {"unreadable_body", "the body could not be read to its end", http.StatusBadRequest},
	Overloaded:     {"overloaded", "too many admissions at once; the pod goes on without a sidecar", http.StatusServiceUnavailable},
	TooComplex: {"too_complex", fmt.Sprintf("the body has more than %d JSON values, more than %d levels of them, "+
		"or a number of more than %d characters", maxValues, maxDepth, maxScalar), http.StatusRequestEntityTooLarge},
	NotAReview:       {"not_a_review", "the body is not an AdmissionReview with a request and a short uid", http.StatusBadRequest},
	UnreadableReview: {value: "unreadable_review", sentence: "not injected: the review could not be read"},
	UnknownVersion: {value: "unknown_version",
		sentence: "not injected: the webhook speaks admission.k8s.io/v1 only; set admissionReviewVersions to [v1]"},
	NotAPodCreation: {value: "not_a_pod_creation",
		sentence: "not injected: the webhook is for the creation of v1 pods only; correct its rules"},
	UnreadablePod:    {value: "unreadable_pod", sentence: "not injected: the pod could not be read"},
	Panicked:         {"panic", "not injected: an error inside the webhook, please report it with its log", http.StatusInternalServerError},
	UnencodablePatch: {value: "unencodable_patch", sentence: "not injected: the patch could not be written"},
}

// Rejected reports whether anyone who reaches the port can cause the problem. The webhook cannot
// tell an API server from others (it asks for no client certificate), so such a problem has a
// counter of its own, and no alert depends on it.
func (p Problem) Rejected() bool { return p < Panicked }

// Problems lists them all, so that metrics can start at zero.
func Problems() []Problem {
	all := make([]Problem, 0, len(problems))
	for p := range UnencodablePatch + 1 {
		all = append(all, p)
	}
	return all
}

// String is the value for metrics and logs.
func (p Problem) String() string { return problems[p].value }

// Sentence says what the problem means, to those who create the pod or read the log.
func (p Problem) Sentence() string { return problems[p].sentence }
