package admission

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"kubevirt-hypervisor-exporter/webhook/inject"
	"kubevirt-hypervisor-exporter/webhook/refusals"
)

// Decider is inject.Decide with its configuration.
type Decider func(*inject.Pod) inject.Decision

// judge decides about a pod in its request. refused is the VM whose pods the API server
// refused, once for each such VM, and otherwise nil.
type judge func(*admissionRequest, *inject.Pod) (decision inject.Decision, refused *refusedVM)

// refusedVM names a VM for the log.
type refusedVM struct{ namespace, name string }

// rememberRefusals makes a judge of the decider: a pod that would be injected is left alone if
// the API server refused it before. A dry run stores no pod, so it is not remembered, and its
// decision does not change.
func rememberRefusals(decide Decider, memory *refusals.Memory) judge {
	return func(request *admissionRequest, pod *inject.Pod) (inject.Decision, *refusedVM) {
		decision := decide(pod)
		if !decision.Injected() || request.isDryRun() {
			return decision, nil
		}
		vm := pod.VM()
		leave, first := memory.Leave(refusals.Pod{Namespace: request.Namespace, VMI: vm.UID, Migration: vm.Migration})
		switch {
		case !leave:
			return decision, nil
		case first:
			return inject.LeaveAlone(inject.RefusedBefore), &refusedVM{request.Namespace, vm.Name}
		default:
			return inject.LeaveAlone(inject.RefusedBefore), nil
		}
	}
}

// outcome is the result of one request: a decision or a problem.
type outcome struct {
	decision inject.Decision
	problem  *problem
	// refused is set on the first pod of a VM that is left alone because the API server refused
	// those before it.
	refused *refusedVM
	// from the request, for the log
	namespace, name string
	dryRun          bool
}

type problem struct {
	kind  Problem
	err   error
	stack []byte
}

func failed(kind Problem, err error) outcome { return outcome{problem: &problem{kind: kind, err: err}} }

// about notes which pod the request is about. The request's name comes after that of the pod,
// which may be empty.
func (o *outcome) about(r *admissionRequest) {
	o.namespace = r.Namespace
	o.name = cmp.Or(o.name, r.Name)
	o.dryRun = r.isDryRun()
}

// outcomeLog writes what became of requests, without letting anyone who sends reviews fill the
// log. The counters have everything.
type outcomeLog struct {
	logger *slog.Logger
	// rejected is by Problem: one reason does not hide another.
	rejected []rate.Sometimes
	refused  *rate.Limiter
}

// rejectedEvery is how often at most a rejected request is logged, for each reason.
const rejectedEvery = 10 * time.Second

func newOutcomeLog(logger *slog.Logger) *outcomeLog {
	l := &outcomeLog{
		logger:   logger,
		rejected: make([]rate.Sometimes, len(problems)),
		// The first 20 at once, then at most one a second.
		refused: rate.NewLimiter(rate.Every(time.Second), 20),
	}
	for i := range l.rejected {
		l.rejected[i].Interval = rejectedEvery
	}
	return l
}

// write writes a line at debug for a decision and at warn for a problem, and one about each VM
// that starts without the sidecar because its pods were refused.
func (l *outcomeLog) write(o *outcome) {
	switch {
	case o.problem == nil:
		if o.refused != nil && l.refused.Allow() {
			l.logger.Warn("the API server refused this VM's pods with the sidecar; the VM starts without it, and its events say what refused them",
				"namespace", cut(o.refused.namespace, maxNamespace), "vmi", cut(o.refused.name, maxName))
		}
		if l.logger.Enabled(context.Background(), slog.LevelDebug) { // its attributes cost eight allocations
			l.logger.Debug("admission", append(o.attrs(o.decision.Reason), "dry_run", o.dryRun, "warnings", o.decision.Warnings)...)
		}
	case o.problem.kind.Rejected():
		l.rejected[o.problem.kind].Do(func() { l.problem("request rejected: ", o) })
	default:
		l.problem("admission failed: ", o)
	}
}

func (l *outcomeLog) problem(message string, o *outcome) {
	attrs := o.attrs(o.problem.kind)
	if o.problem.err != nil {
		attrs = append(attrs, "err", fmt.Sprintf("%.256s", o.problem.err))
	}
	if o.problem.stack != nil {
		attrs = append(attrs, "stack", string(o.problem.stack))
	}
	l.logger.Warn(message+o.problem.kind.Sentence(), attrs...)
}

func (o *outcome) attrs(reason fmt.Stringer) []any {
	return []any{"reason", reason.String(), "namespace", cut(o.namespace, maxNamespace), "pod", cut(o.name, maxName)}
}

// The longest names in Kubernetes, in bytes. What comes from a request is cut to them in the log.
const (
	maxNamespace = 63
	maxName      = 253
)

func cut(text string, most int) string { return fmt.Sprintf("%.*s", most, text) }
