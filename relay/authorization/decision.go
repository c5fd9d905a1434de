package authorization

import (
	"net/http"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// A Decision is the answer to a token.
type Decision int

const (
	// Unavailable: the API server cannot be asked.
	Unavailable Decision = iota
	// Unauthenticated: there is no token, or the API server does not know it.
	Unauthenticated
	// Forbidden: the token's owner lacks the right.
	Forbidden
	// Allowed: the token's owner has the right.
	Allowed
	// Busy: too many unknown tokens are being reviewed.
	Busy
)

// decisions has a row for each Decision: the value of the metric's label, the HTTP status, and the text of a refusal.
var decisions = [...]struct {
	label string
	code  int
	text  string
}{
	Unavailable: {"unavailable", http.StatusServiceUnavailable, "the API server cannot be asked for authorization"},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized,
		"a token of the cluster is needed, for the API server or for the audience " + contract.RelayAudience + ": Authorization: Bearer TOKEN, over TLS"},
	Forbidden: {"forbidden", http.StatusForbidden, "the token's owner lacks the right to get the nonResourceURL "},
	Allowed:   {"allowed", http.StatusOK, ""},
	Busy:      {"busy", http.StatusTooManyRequests, "too many tokens that are not known yet are being reviewed"},
}

// String returns the value of the metric's label.
func (d Decision) String() string { return decisions[d].label }

// Code returns the HTTP status of the answer.
func (d Decision) Code() int { return decisions[d].code }

// An Origin is where a decision came from.
type Origin int

const (
	// Asked: the API server was asked.
	Asked Origin = iota
	// Cached: the answer was known.
	Cached
	// Stale: the answer was known, is old, and the API server does not answer.
	Stale
)

// String returns the value of the metric's label.
func (o Origin) String() string {
	return [...]string{Asked: "apiserver", Cached: "cache", Stale: "stale"}[o]
}
