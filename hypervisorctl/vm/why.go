package vm

import (
	"cmp"
	"strings"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Why is why a VMI has no metric, as far as Kubernetes knows.
type Why int

// The reasons, in the order in which Diagnose checks them; texts explains each. Expected is the zero value and what is
// left: nothing in Kubernetes explains a missing metric.
const (
	Expected Why = iota
	NotRunning
	Unschedulable
	NoPod
	Ambiguous
	NotEnabled
	// Refused: inject.Reason says why the webhook does not inject into such a pod.
	Refused
	// Unread: the namespace's label could not be read, and nothing else explains it.
	Unread
	Missed
	RefusedBefore
	PodsRefused
	SidecarStarting
	SidecarFailing
	SidecarEnded
)

// whyText is what is printed about a reason: the value for JSON (one of a fixed set, in snake case), a sentence, and what to
// do, if anything. DETAIL is the cause's detail; VMI.Advice has the other words in capitals.
type whyText struct{ value, sentence, hint string }

func texts(w Why) whyText {
	const events = "its events say why: kubectl describe vmi NAME -n NAMESPACE"
	all := [...]whyText{
		Expected:   {value: "expected", sentence: "the sidecar runs"},
		NotRunning: {"not_running", "the VMI does not run (phase DETAIL), so it has no hypervisor", events},
		Unschedulable: {"unschedulable", "the VMI does not run, because no node can take its pod: DETAIL",
			"kubectl describe vmi NAME -n NAMESPACE; if nodes lack DEVICE, enable virtualization on a node, or drop what the VM requests"},
		NoPod: {"no_pod", "the VMI has no pod on its node", events},
		Ambiguous: {"ambiguous_pod", "several pods on the VMI's node name it as their controller; KubeVirt runs only one of them, and nothing shows which one",
			"delete those that KubeVirt did not create: kubectl get pods -n NAMESPACE -l kubevirt.io=virt-launcher -o wide"},
		NotEnabled: {"namespace_not_enabled", "its namespace is not labelled " + inject.AnnotationInject + "=enabled",
			"kubectl label --overwrite namespace NAMESPACE " + inject.AnnotationInject + "=enabled, then NEWPOD"},
		Refused: {"refused", "the webhook does not inject into such a pod", "see docs/operations.md; after the fix, NEWPOD"},
		Unread:  {"namespace_not_read", "its pod has no sidecar, and you may not read the namespace's label", "kubectl auth can-i get namespaces"},
		Missed: {"missed", "its pod was created before the namespace was labelled, or while the webhook did not answer",
			"for a new pod, with the sidecar: NEWPOD"},
		RefusedBefore: {"refused_before", "the API server refused its pods with the sidecar, so it started without: DETAIL",
			"let what refused the pods admit the sidecar, then NEWPOD; or opt the VM out (docs/operations.md, Quotas and limits)"},
		PodsRefused: {"pods_refused", "the VMI does not start, because the API server refuses its pods: DETAIL",
			"let what refuses the pods admit them; to start without the sidecar, set the annotation " + inject.AnnotationInject + `: "false" in the VM's template`},
		SidecarStarting: {value: "sidecar_starting", sentence: "the sidecar has not started yet"},
		SidecarFailing: {"sidecar_failing", "the sidecar does not run: DETAIL",
			"its events show image-pull errors and crashes: kubectl describe pod POD -n NAMESPACE"},
		SidecarEnded: {"sidecar_ended", "the sidecar ended: DETAIL", "kubectl logs POD -n NAMESPACE -c " + inject.ContainerName},
	}
	return all[w]
}

// String is the value for JSON.
func (w Why) String() string { return texts(w).value }

// Cause is a Why with what belongs to it.
type Cause struct {
	Why Why
	// Reason is the webhook's, where Why is Refused.
	Reason inject.Reason
	// Detail is the kubelet's or KubeVirt's word, or an event's text, where there is one.
	Detail string
}

// Enabled is what is known about a namespace's label.
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

// Diagnose returns why a VMI has no metric; launcher is nil if it has no pod.
func Diagnose(vmi VMI, launcher *Launcher, enabled Enabled) Cause {
	switch {
	case vmi.Phase != Running && vmi.Unschedulable != "":
		return Cause{Why: Unschedulable, Detail: vmi.Unschedulable}
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
	}
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
	switch {
	case c.Why == Expected:
		return ""
	case c.Why == Refused:
		return c.Reason.String()
	case (c.Why == SidecarFailing || c.Why == SidecarEnded) && c.Detail != "":
		return c.Why.String() + ": " + c.Detail
	default:
		return c.Why.String()
	}
}

// Sentence is the cause in a sentence.
func (c Cause) Sentence() string {
	if c.Why == Refused {
		return c.Reason.Sentence()
	}
	return strings.Replace(texts(c.Why).sentence, "DETAIL", strings.TrimSuffix(cmp.Or(c.Detail, "unknown"), "."), 1)
}

// Wanted reports whether the VM has no metric because its owner, or KubeVirt, wants none.
func (c Cause) Wanted() bool {
	return c.Why == NotRunning || c.Why == Unschedulable || c.Why == NotEnabled ||
		c.Why == Refused && (c.Reason == inject.OptedOut || c.Reason == inject.EphemeralProvisioning)
}

// Hint says what to do, in words that VMI.Advice replaces; empty if there is nothing to do.
func (c Cause) Hint() string {
	if c.Why == Refused && c.Wanted() {
		return ""
	}
	return texts(c.Why).hint
}
