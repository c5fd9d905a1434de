package admission

import "fmt"

// Problem is what can go wrong in an admission. It is the reason in metrics and
// log; none of its values comes from a request.
type Problem int

// The problems, in the order in which a request can meet them.
const (
	// Those up to NotAReview are answered with an HTTP error: there is no review to
	// answer, or none that may be read.
	WrongMethod Problem = iota
	WrongContentType
	UnknownLength
	TooLarge
	UnreadableBody
	Overloaded
	TooComplex
	NotAReview
	// Those from here on are answered: allowed, no patch, with a warning.
	UnreadableReview
	UnknownVersion
	NotAPodCreation
	UnreadablePod
	// Panicked and UnencodablePatch are errors of ours.
	Panicked
	UnencodablePatch
)

// Rejected says that anyone who reaches the port can make the problem. The webhook cannot
// tell an API server from others (it asks for no client certificate), so such a problem
// is counted apart and no alert depends on it.
func (p Problem) Rejected() bool { return p < Panicked }

// Problems lists them all, so that metrics can start at zero.
func Problems() []Problem {
	all := make([]Problem, 0, UnencodablePatch+1)
	for p := WrongMethod; p <= UnencodablePatch; p++ {
		all = append(all, p)
	}
	return all
}

// String is the value for metrics and logs.
func (p Problem) String() string {
	switch p {
	case WrongMethod:
		return "wrong_method"
	case WrongContentType:
		return "wrong_content_type"
	case UnknownLength:
		return "unknown_length"
	case TooLarge:
		return "too_large"
	case UnreadableBody:
		return "unreadable_body"
	case Overloaded:
		return "overloaded"
	case TooComplex:
		return "too_complex"
	case NotAReview:
		return "not_a_review"
	case UnreadableReview:
		return "unreadable_review"
	case UnknownVersion:
		return "unknown_version"
	case NotAPodCreation:
		return "not_a_pod_creation"
	case UnreadablePod:
		return "unreadable_pod"
	case Panicked:
		return "panic"
	case UnencodablePatch:
		return "unencodable_patch"
	}
	return fmt.Sprintf("problem_%d", int(p))
}

// Sentence says what it means, to those who create the pod or read the log.
func (p Problem) Sentence() string {
	switch p {
	case WrongMethod:
		return "only POST is answered here"
	case WrongContentType:
		return "the body must be application/json"
	case UnknownLength:
		return "the request must say how long its body is (Content-Length)"
	case TooLarge:
		return fmt.Sprintf("the body is larger than %d bytes, more than an API server sends", maxBody)
	case UnreadableBody:
		return "the body could not be read to its end"
	case Overloaded:
		return "too many admissions at once; the pod goes on without a sidecar"
	case TooComplex:
		return fmt.Sprintf("the body has more than %d JSON values, more than %d levels of them, or a number of more than %d characters", maxValues, maxDepth, maxScalar)
	case NotAReview:
		return "the body is not an AdmissionReview with a request and a short uid"
	case UnreadableReview:
		return "not injected: the review could not be read"
	case UnknownVersion:
		return "not injected: the webhook speaks admission.k8s.io/v1 only; set admissionReviewVersions to [v1]"
	case NotAPodCreation:
		return "not injected: the webhook is for the creation of v1 pods only; correct its rules"
	case UnreadablePod:
		return "not injected: the pod could not be read"
	case Panicked:
		return "not injected: an error inside the webhook, please report it with its log"
	case UnencodablePatch:
		return "not injected: the patch could not be written"
	}
	return "not injected: " + p.String()
}
