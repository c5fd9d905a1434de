package scrape

import "net/http"

// A Result says how a scrape ended. It is a label of the metric, so there are few.
type Result int

const (
	// OK: the page went through whole.
	OK Result = iota
	// Gone: no such pod on the node, or no socket in it.
	Gone
	// Foreign: something other than a socket of the pod's own lies in its place.
	Foreign
	// Unusable: the socket is there and cannot be connected to.
	Unusable
	// Refused: nobody listens on the socket, as while the sidecar restarts.
	Refused
	// Timeout: the pod did not answer, or not all of it, in time.
	Timeout
	// Malformed: the answer is not one that passes.
	Malformed
	// TooLarge: the page is larger than Config.MaxResponseBytes.
	TooLarge
	// CutOff: the pod broke off.
	CutOff
	// Status: the pod answered with a status other than 200. Its code is in the answer's
	// text only: as the answer's own, 401 or 403 would be the relay's word on the token.
	Status
	// PodBusy: too many scrapes of the pod are under way.
	PodBusy
	// RelayBusy: too many scrapes of all pods are under way.
	RelayBusy
	// NodeFault: the kubelet's folder cannot be opened: the relay's own trouble.
	NodeFault
	// ClientGone: whoever asked has hung up.
	ClientGone

	results // how many there are
)

// statusClientGone is what nginx logs, as there is nobody left to send it to.
const statusClientGone = 499

// String is the value of the metric's label.
func (r Result) String() string { return r.row().label }

// Code is the HTTP status that says so. It is the relay's: nothing that a pod does makes it
// one of those that are about the request or the token (401, 403, 429 of the guard).
func (r Result) Code() int { return r.row().code }

// Sentence tells whoever asked.
func (r Result) Sentence() string { return r.row().sentence }

type resultRow struct {
	label    string
	code     int
	sentence string
}

func (r Result) row() resultRow {
	switch r {
	case OK:
		return resultRow{"ok", http.StatusOK, "ok"}
	case Gone:
		return resultRow{"gone", http.StatusNotFound, "no such pod on this node, or no socket in it"}
	case Foreign:
		return resultRow{"foreign", http.StatusBadGateway, "what lies in the socket's place is not a socket of the pod's own"}
	case Unusable:
		return resultRow{"unusable", http.StatusBadGateway, "the pod's socket cannot be connected to; see the relay's log"}
	case Refused:
		return resultRow{"refused", http.StatusServiceUnavailable, "nobody listens on the pod's socket: the sidecar is not running"}
	case Timeout:
		return resultRow{"timeout", http.StatusGatewayTimeout, "the pod did not answer in time"}
	case Malformed:
		return resultRow{"malformed", http.StatusBadGateway, "the pod's answer is no exposition of metrics; see the relay's log"}
	case TooLarge:
		return resultRow{"too_large", http.StatusBadGateway, "the pod's page is larger than the relay's limit"}
	case CutOff:
		return resultRow{"cut_off", http.StatusBadGateway, "the pod broke off"}
	case Status:
		return resultRow{"status", http.StatusBadGateway, "the pod answered with a status other than 200"}
	case PodBusy:
		return resultRow{"pod_busy", http.StatusTooManyRequests, "too many scrapes of this pod are under way"}
	case RelayBusy:
		return resultRow{"relay_busy", http.StatusServiceUnavailable, "too many scrapes are under way"}
	case NodeFault:
		return resultRow{"node_fault", http.StatusInternalServerError, "the kubelet's folder of pods cannot be opened; see the relay's log"}
	case ClientGone:
		return resultRow{"client_gone", statusClientGone, "whoever asked has hung up"}
	case results:
	}
	return resultRow{"invalid", http.StatusInternalServerError, "invalid result"}
}
