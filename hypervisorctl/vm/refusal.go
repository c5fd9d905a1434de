package vm

import (
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// RefusalReason is the reason of KubeVirt's events about pods that could not be created (pkg/controller
// FailedCreatePodReason).
const RefusalReason = "FailedCreate"

// mostOfRefusal is how many characters of an event are shown. Quotas and policies name all that they count.
const mostOfRefusal = 300

// Refusal is what KubeVirt's event on a VMI reports about a pod that the API server refused. Anyone who may create events in the
// namespace can write one, so it only explains what is known from elsewhere: that the VMI's pod has no sidecar, or that it
// has no pod.
type Refusal struct {
	By string
	At time.Time
}

// podName is the generated name of the refused pod, which differs each time.
var podName = regexp.MustCompile(`^pods "[^"]*" is forbidden: `)

// RefusalOf reads an event; false if it is not about a pod of a VMI that was refused. KubeVirt 1.9,
// virt-controller/watch/vmi/lifecycle.go: "Error creating pod: …", and for Pod Security "failed to render launch manifest: …".
func RefusalOf(event *corev1.Event) (Refusal, bool) {
	if event.Reason != RefusalReason || event.InvolvedObject.Kind != contract.VMIKind {
		return Refusal{}, false
	}
	text, found := strings.CutPrefix(event.Message, "Error creating pod: ")
	if !found {
		text, found = strings.CutPrefix(event.Message, "failed to render launch manifest: ")
	}
	if !found || !strings.Contains(text, " is forbidden: ") && !strings.Contains(text, " denied the request") {
		return Refusal{}, false
	}
	by := Brief(podName.ReplaceAllString(text, ""))
	return Refusal{By: by, At: LastSeen(event)}, by != ""
}

// Brief cuts a text of others to a length that fits into a line.
func Brief(text string) string {
	if runes := []rune(text); len(runes) > mostOfRefusal {
		return string(runes[:mostOfRefusal-1]) + "…"
	}
	return text
}

// LastSeen is when the event happened last; events of both APIs have different fields for that.
func LastSeen(event *corev1.Event) time.Time {
	last := event.LastTimestamp.Time
	for _, other := range []time.Time{event.EventTime.Time, event.CreationTimestamp.Time} {
		if other.After(last) {
			last = other
		}
	}
	if event.Series != nil && event.Series.LastObservedTime.After(last) {
		last = event.Series.LastObservedTime.Time
	}
	return last
}

const (
	// beforeCreation is how long before its pod's creation a VMI's pods can have been refused because of the sidecar: the
	// webhook leaves a pod alone once a second has passed since the VM's first (webhook/refusals).
	beforeCreation = 10 * time.Minute
	// refusedLately is longer than KubeVirt waits between two tries (workqueue.DefaultTypedControllerRateLimiter: at
	// most 1000 s).
	refusedLately = 20 * time.Minute
)

// Explicable reports whether a refusal could be the reason.
func (c Cause) Explicable(vmi VMI, launcher *Launcher) bool {
	return c.Why == Missed || c.Why == NotRunning && launcher == nil && (vmi.Phase == "" || vmi.Phase == "Pending")
}

// Explained is the cause, given the last refusal of one of the VMI's pods.
func (c Cause) Explained(vmi VMI, launcher *Launcher, last Refusal, now time.Time) Cause {
	switch {
	case !c.Explicable(vmi, launcher):
		return c
	case c.Why == NotRunning && now.Sub(last.At) < refusedLately:
		return Cause{Why: PodsRefused, Detail: last.By}
	case c.Why == Missed && last.At.After(launcher.Created.Add(-beforeCreation)) && last.At.Before(launcher.Created.Add(time.Minute)):
		return Cause{Why: RefusedBefore, Detail: last.By}
	default:
		return c
	}
}
