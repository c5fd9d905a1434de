package vm

import (
	"fmt"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Why is why a VMI has no metric, as far as Kubernetes knows it.
type Why int

// The reasons, in the order in which they are looked for. Expected is the zero value and last resort: nothing speaks
// against a metric.
const (
	// Expected: the sidecar runs, so a metric is due.
	Expected Why = iota
	// NotRunning: no hypervisor, no metric.
	NotRunning
	// NoPod: KubeVirt says that it runs, and there is no pod of it on its node.
	NoPod
	// NotEnabled: the namespace does not ask for sidecars.
	NotEnabled
	// Refused: the webhook leaves such a pod alone; inject.Reason says why.
	Refused
	// Unread: it has no sidecar, and whether its namespace asks for one could not be looked at.
	Unread
	// Missed: the pod would get the sidecar now, and has none.
	Missed
	// SidecarStarting: not yet.
	SidecarStarting
	// SidecarFailing: the kubelet cannot run it.
	SidecarFailing
	// SidecarEnded: it has ended and its VMI has not.
	SidecarEnded
)

// String is the value for JSON: one of a fixed set, in snake case.
func (w Why) String() string {
	switch w {
	case Expected:
		return "expected"
	case NotRunning:
		return "not_running"
	case NoPod:
		return "no_pod"
	case NotEnabled:
		return "namespace_not_enabled"
	case Refused:
		return "refused"
	case Unread:
		return "namespace_not_read"
	case Missed:
		return "missed"
	case SidecarStarting:
		return "sidecar_starting"
	case SidecarFailing:
		return "sidecar_failing"
	case SidecarEnded:
		return "sidecar_ended"
	default:
		return fmt.Sprintf("why_%d", int(w))
	}
}

// Cause is a Why with what belongs to it.
type Cause struct {
	Why Why
	// Reason is the webhook's, where Why is Refused.
	Reason inject.Reason
	// Detail is the kubelet's or KubeVirt's word, where there is one.
	Detail string
}

// Enabled says what is known of a namespace's label.
type Enabled int

// The three things that can be known.
const (
	// EnabledUnknown: the namespace could not be looked at.
	EnabledUnknown Enabled = iota
	// EnabledYes: it asks for sidecars.
	EnabledYes
	// EnabledNo: it does not.
	EnabledNo
)

// Diagnose says why a VMI has no metric; launcher is nil where it has no pod.
func Diagnose(vmi VMI, launcher *Launcher, enabled Enabled) Cause {
	switch {
	case vmi.Phase != Running:
		return Cause{Why: NotRunning, Detail: vmi.Phase}
	case launcher == nil:
		return Cause{Why: NoPod}
	}
	switch sidecar := launcher.Sidecar; sidecar.State {
	case Up:
		return Cause{Why: Expected}
	case Starting:
		return Cause{Why: SidecarStarting}
	case Failing:
		return Cause{Why: SidecarFailing, Detail: sidecar.Detail}
	case Ended:
		return Cause{Why: SidecarEnded, Detail: sidecar.Detail}
	case Absent:
		return diagnoseAbsent(launcher, enabled)
	default:
		return diagnoseAbsent(launcher, enabled)
	}
}

func diagnoseAbsent(launcher *Launcher, enabled Enabled) Cause {
	switch {
	case enabled == EnabledNo:
		return Cause{Why: NotEnabled}
	case launcher.Decision != inject.Injected:
		return Cause{Why: Refused, Reason: launcher.Decision}
	case enabled == EnabledUnknown:
		return Cause{Why: Unread}
	default:
		return Cause{Why: Missed}
	}
}

// Short is the cause in a word or two, for a column: the webhook's own where it decided, the kubelet's where it failed.
func (c Cause) Short() string {
	switch c.Why {
	case Expected:
		return ""
	case Refused:
		return c.Reason.String()
	case SidecarFailing, SidecarEnded:
		if c.Detail != "" {
			return c.Why.String() + ": " + c.Detail
		}
		return c.Why.String()
	case NotRunning, NoPod, NotEnabled, Unread, Missed, SidecarStarting:
		return c.Why.String()
	default:
		return c.Why.String()
	}
}

// Sentence says it for people.
func (c Cause) Sentence() string {
	switch c.Why {
	case Expected:
		return "the sidecar runs"
	case NotRunning:
		return fmt.Sprintf("the VMI does not run (phase %s), and what does not run has no hypervisor", orNone(c.Detail))
	case NoPod:
		return "the VMI has no pod on its node"
	case NotEnabled:
		return "its namespace is not labelled " + inject.AnnotationInject + "=enabled"
	case Refused:
		return c.Reason.Sentence()
	case Unread:
		return "its pod has no sidecar, and you may not look whether its namespace asks for one"
	case Missed:
		return "its pod would get the sidecar now, but was created without: before the namespace was labelled, or while the webhook did not answer"
	case SidecarStarting:
		return "the sidecar has not started yet"
	case SidecarFailing:
		return "the sidecar does not run: " + orNone(c.Detail)
	case SidecarEnded:
		return "the sidecar has ended: " + orNone(c.Detail)
	default:
		return c.Why.String()
	}
}

// Wanted says whether the VM has no metric because its owner, or KubeVirt, wants it so.
func (c Cause) Wanted() bool {
	switch c.Why {
	case NotRunning, NotEnabled:
		return true
	case Refused:
		return c.Reason == inject.OptedOut || c.Reason == inject.EphemeralProvisioning
	case Expected, NoPod, Unread, Missed, SidecarStarting, SidecarFailing, SidecarEnded:
		return false
	default:
		return false
	}
}

// Hint says what to do; empty where nothing is to be done.
func (c Cause) Hint() string {
	if c.Wanted() && c.Why != NotEnabled {
		return ""
	}
	switch c.Why {
	case Expected, NotRunning, SidecarStarting:
		return ""
	case NoPod:
		return "look at the VMI's events: kubectl describe vmi"
	case NotEnabled:
		return "kubectl label namespace NAMESPACE " + inject.AnnotationInject + "=enabled, then migrate the VMs"
	case Refused:
		return "see docs/operations.md; once mended, migrate or restart the VM"
	case Unread:
		return "kubectl auth can-i get namespaces"
	case Missed:
		return "virtctl migrate NAME: the new pod gets the sidecar"
	case SidecarFailing:
		return "kubectl describe pod: an image that cannot be pulled or a crash stands in its events"
	case SidecarEnded:
		return "kubectl logs POD -c " + inject.ContainerName
	default:
		return ""
	}
}

func orNone(word string) string {
	if word == "" {
		return "no reason given"
	}
	return word
}
