package authorization

import "net/http"

// A Decision is what is answered to a token.
type Decision int

const (
	// Unavailable: the API server cannot be asked.
	Unavailable Decision = iota
	// Unauthenticated: there is no token, or the API server does not know it.
	Unauthenticated
	// Forbidden: whose token it is lacks the right.
	Forbidden
	// Allowed: whose token it is has the right.
	Allowed
	// Busy: too many tokens that are not known yet are being reviewed.
	Busy
)

// String is the value of the metric's label.
func (d Decision) String() string {
	switch d {
	case Unavailable:
		return "unavailable"
	case Unauthenticated:
		return "unauthenticated"
	case Forbidden:
		return "forbidden"
	case Allowed:
		return "allowed"
	case Busy:
		return "busy"
	}
	return "invalid"
}

// Code is the HTTP status that says so.
func (d Decision) Code() int {
	switch d {
	case Allowed:
		return http.StatusOK
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case Busy:
		return http.StatusTooManyRequests
	case Unavailable:
	}
	return http.StatusServiceUnavailable
}
