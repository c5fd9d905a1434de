// Package inject decides whether a virt-launcher pod gets the exporter's sidecar, and
// returns what to add as a JSON patch.
//
// Decide reads the parts of a pod that matter (Pod), checks them against one list of
// reasons to leave the pod alone (reason.go), and builds what is added: one init container
// and one volume (container.go), and up to three annotations (patch.go). There is no I/O,
// no clock and no HTTP here, except that Run, the command `webhook inject`, reads and
// writes. The admission handler, the command and hypervisorctl all call the same Decide.
package inject

import (
	"fmt"
	"slices"
)

// Decision is the outcome for one pod.
type Decision struct {
	Reason Reason
	// Warnings are sentences for the user who creates the pod, fit for an admission
	// response: ASCII, on one line each, at most 256 characters.
	Warnings []string
	// Patch is what to add to the pod; empty unless Reason is Injected.
	Patch []Operation
}

// Injected reports whether the pod gets the sidecar.
func (d Decision) Injected() bool { return d.Reason == Injected }

// LeaveAlone is the decision to leave a pod as it is, with the reason's warning.
func LeaveAlone(reason Reason) Decision {
	d := Decision{Reason: reason}
	if !reason.entry().expected {
		d.Warnings = []string{warning("not injected: %s", reason.Sentence())}
	}
	return d
}

// Decide returns whether the pod gets the sidecar, and how. It changes nothing, does no
// I/O, and gives the same answer for the same input. It may be called concurrently, also
// with the same pod.
//
// The patch is built from what is added, never as the difference to a pod that was encoded
// again: that would drop fields that are newer than our types.
func Decide(cfg Config, pod *Pod) Decision {
	if reason := Judge(cfg, pod); reason != Injected {
		return LeaveAlone(reason)
	}
	s, sizeWarnings := sizeFor(cfg, pod)
	patch, patchWarnings := patchFor(cfg, pod, container(cfg, pod, s))
	return Decision{Reason: Injected, Warnings: slices.Concat(switchWarnings(pod), sizeWarnings, patchWarnings), Patch: patch}
}

// Judge returns whether the pod gets the sidecar: Injected, or the first reason why not.
func Judge(cfg Config, pod *Pod) Reason {
	for reason := range Injected {
		if applies := reason.entry().applies; applies != nil && applies(cfg, pod) {
			return reason
		}
	}
	return Injected
}

// switchWarnings warns about a value of the opt-out switch that is not known. The pod is
// injected nevertheless: its namespace is labelled.
func switchWarnings(pod *Pod) []string {
	var warnings []string
	for _, source := range []struct {
		kind   string
		values map[string]string
	}{{"annotation", pod.Annotations}, {"label", pod.Labels}} {
		switch value, ok := source.values[AnnotationInject]; {
		case !ok, value == "true", value == "enabled":
		default:
			warnings = append(warnings, warning("%s %s=%s is unknown and ignored: the sidecar is injected; \"false\" opts out",
				source.kind, AnnotationInject, quote(value)))
		}
	}
	return warnings
}

// warning makes a sentence for an admission response that shows where it comes from.
func warning(format string, args ...any) string {
	return "hypervisor-exporter: " + fmt.Sprintf(format, args...)
}

// quote returns a user's value for a message: no control character, quote or template in
// it reaches a log, a terminal or an HTTP header unescaped. It is cut because the API
// server cuts warnings at 256 characters.
func quote(value string) string {
	const keep = 24
	if len(value) > keep {
		return fmt.Sprintf("%+q (cut)", value[:keep])
	}
	return fmt.Sprintf("%+q", value)
}
