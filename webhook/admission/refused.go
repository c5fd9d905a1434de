package admission

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"kubevirt-hypervisor-exporter/webhook/inject"
	"kubevirt-hypervisor-exporter/webhook/refusals"
)

// Decider is inject.Decide with its configuration: it reads a pod.
type Decider func(*inject.Pod) inject.Decision

// judge decides about a pod in its request. refused is not nil once for each VM whose pods were refused.
type judge func(*admissionRequest, *inject.Pod) (decision inject.Decision, refused *refusedVM)

// refusedVM names a VM for the log.
type refusedVM struct{ namespace, name string }

// rememberRefusals makes a judge of the decider: what is to be injected is left alone if the API server refused it
// before. A dry run stores no pod, so it is neither remembered nor changed.
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

// refusedLog writes a line about each VM that starts without the sidecar because its pods were refused: the first
// 20 at once, then at most one a second. A stranger who sends reviews must not fill the log. The counter has all of them.
type refusedLog struct {
	logger *slog.Logger
	due    *rate.Limiter
}

func newRefusedLog(logger *slog.Logger) *refusedLog {
	return &refusedLog{logger: logger, due: rate.NewLimiter(rate.Every(time.Second), 20)}
}

func (l *refusedLog) write(o *outcome) {
	if o.refused == nil || !l.due.Allow() {
		return
	}
	l.logger.Warn("the API server refused this VM's pods with the sidecar; the VM starts without it, and its events say what refused them",
		"namespace", cut(o.refused.namespace, maxNamespace), "vmi", cut(o.refused.name, maxName))
}
