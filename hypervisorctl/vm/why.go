package vm

import (
	"fmt"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Why is why a VMI has no metric, as far as Kubernetes knows.
type Why int

// The reasons, in the order in which Diagnose checks them. Expected is the zero value and what is left: nothing in
// Kubernetes explains a missing metric.
const (
	// Expected: the sidecar runs, so there should be a metric.
	Expected Why = iota
	// NotRunning: no hypervisor, no metric.
	NotRunning
	// NoPod: KubeVirt says that the VMI runs, but it has no pod on its node.
	NoPod
	// Ambiguous: several pods on its node are controlled by the VMI.
	Ambiguous
	// NotEnabled: the namespace is not labelled for sidecars.
	NotEnabled
	// Refused: the webhook does not inject into such a pod; inject.Reason says why.
	Refused
	// Unread: the pod has no sidecar, and the namespace's label could not be read.
	Unread
	// Missed: the pod would get the sidecar now, but has none.
	Missed
	// RefusedBefore: the API server refused the VMI's pods with the sidecar, so the webhook left the next one alone.
	RefusedBefore
	// PodsRefused: the API server refuses the VMI's pods, and it does not start.
	PodsRefused
	// SidecarStarting: not started yet.
	SidecarStarting
	// SidecarFailing: the kubelet cannot run it.
	SidecarFailing
	// SidecarEnded: it ended, and its VMI did not.
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
	case Ambiguous:
		return "ambiguous_pod"
	case NotEnabled:
		return "namespace_not_enabled"
	case Refused:
		return "refused"
	case Unread:
		return "namespace_not_read"
	case Missed:
		return "missed"
	case RefusedBefore:
		return "refused_before"
	case PodsRefused:
		return "pods_refused"
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
	// Detail is the kubelet's or KubeVirt's word, or an event's text, where there is one.
	Detail string
}

// Enabled says what is known about a namespace's label.
type Enabled int

// The values of Enabled.
const (
	// EnabledUnknown: the namespace could not be read.
	EnabledUnknown Enabled = iota
	// EnabledYes: it is labelled for sidecars.
	EnabledYes
	// EnabledNo: it is not.
	EnabledNo
)

// EnabledBy reads a namespace's labels.
func EnabledBy(labels map[string]string) Enabled {
	if labels[inject.AnnotationInject] == "enabled" {
		return EnabledYes
	}
	return EnabledNo
}

// Diagnose says why a VMI has no metric; launcher is nil if it has no pod.
func Diagnose(vmi VMI, launcher *Launcher, enabled Enabled) Cause {
	switch {
	case vmi.Phase != Running:
		return Cause{Why: NotRunning, Detail: vmi.Phase}
	case launcher == nil:
		return Cause{Why: NoPod}
	case len(launcher.Rivals) > 0:
		return Cause{Why: Ambiguous}
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

// Short is the cause in a word or two, for a column: the webhook's reason if it decided, the kubelet's if it failed.
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
	case NotRunning, NoPod, Ambiguous, NotEnabled, Unread, Missed, RefusedBefore, PodsRefused, SidecarStarting:
		return c.Why.String()
	default:
		return c.Why.String()
	}
}

// Sentence is the cause in a sentence.
func (c Cause) Sentence() string {
	switch c.Why {
	case Expected:
		return "the sidecar runs"
	case NotRunning:
		return fmt.Sprintf("the VMI does not run (phase %s), so it has no hypervisor", orNone(c.Detail))
	case NoPod:
		return "the VMI has no pod on its node"
	case Ambiguous:
		return "several pods on the VMI's node name it as their controller; KubeVirt runs only one of them"
	case NotEnabled:
		return "its namespace is not labelled " + inject.AnnotationInject + "=enabled"
	case Refused:
		return c.Reason.Sentence()
	case Unread:
		return "its pod has no sidecar, and you may not read the namespace's label"
	case Missed:
		return "its pod would get the sidecar now, but was created without it: before the namespace was labelled, or while the webhook did not answer"
	case RefusedBefore:
		return "its pods were refused with the sidecar, so it started without; its events say: " + orNone(c.Detail)
	case PodsRefused:
		return "the VMI does not start, because its pods are refused; its events say: " + orNone(c.Detail)
	case SidecarStarting:
		return "the sidecar has not started yet"
	case SidecarFailing:
		return "the sidecar does not run: " + orNone(c.Detail)
	case SidecarEnded:
		return "the sidecar ended: " + orNone(c.Detail)
	default:
		return c.Why.String()
	}
}

// Wanted says whether the VM has no metric because its owner, or KubeVirt, wants none.
func (c Cause) Wanted() bool {
	switch c.Why {
	case NotRunning, NotEnabled:
		return true
	case Refused:
		return c.Reason == inject.OptedOut || c.Reason == inject.EphemeralProvisioning
	case Expected, NoPod, Ambiguous, Unread, Missed, RefusedBefore, PodsRefused, SidecarStarting, SidecarFailing, SidecarEnded:
		return false
	default:
		return false
	}
}

// Hint says what to do; empty if there is nothing to do.
func (c Cause) Hint() string {
	if c.Wanted() && c.Why != NotEnabled {
		return ""
	}
	switch c.Why {
	case Expected, NotRunning, SidecarStarting:
		return ""
	case NoPod:
		return "check the VMI's events: kubectl describe vmi"
	case Ambiguous:
		return "find the pods with kubectl get pods -l kubevirt.io=virt-launcher -o wide, and delete those that KubeVirt did not create"
	case NotEnabled:
		return "kubectl label namespace NAMESPACE " + inject.AnnotationInject + "=enabled, then migrate the VMs"
	case Refused:
		return "see docs/operations.md; after the fix, migrate or restart the VM"
	case Unread:
		return "kubectl auth can-i get namespaces"
	case Missed:
		return "virtctl migrate NAME: the new pod gets the sidecar"
	case RefusedBefore:
		return "let what refused it admit the sidecar, then virtctl migrate NAME; or opt the VM out (docs/operations.md, Quotas and limits)"
	case PodsRefused:
		return "let what refuses them admit them; to try without the sidecar, set the annotation " + inject.AnnotationInject + `: "false" in the VM's template`
	case SidecarFailing:
		return "kubectl describe pod: check its events for image-pull errors and crashes"
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
