package admission

import "fmt"

// Problem is what can go wrong in an admission. It is the metric's reason when
// the result is error, and the log's; none of its values comes from a request.
type Problem int

// The problems, in the order in which a request can meet them.
const (
	// WrongMethod, WrongContentType, TooLarge, UnreadableBody, Overloaded and
	// NotAReview are answered with an HTTP error: there is no review to answer.
	WrongMethod Problem = iota
	WrongContentType
	TooLarge
	UnreadableBody
	Overloaded
	NotAReview
	// Those from here on are answered: allowed, no patch, with a warning.
	UnreadableReview
	UnknownVersion
	NotAPodCreation
	UnreadablePod
	Panicked
	UnencodablePatch
)

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
	case TooLarge:
		return "too_large"
	case UnreadableBody:
		return "unreadable_body"
	case Overloaded:
		return "overloaded"
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

// Sentence tells whoever creates the pod, or reads the log, what it means.
func (p Problem) Sentence() string {
	switch p {
	case WrongMethod:
		return "only POST is answered here"
	case WrongContentType:
		return "the body must be application/json"
	case TooLarge:
		return fmt.Sprintf("the body is larger than %d bytes, more than an API server sends", maxBody)
	case UnreadableBody:
		return "the body could not be read to its end"
	case Overloaded:
		return "too many admissions at once; the pod goes on without a sidecar"
	case NotAReview:
		return "the body is not an AdmissionReview with a request and its uid"
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
