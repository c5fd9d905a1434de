package admission

import (
	"cmp"
	"fmt"
	"log/slog"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// outcome is what became of one request: a decision or a problem.
type outcome struct {
	decision inject.Decision
	problem  *problem
	// refused is set on the first pod of a VM that is left alone because those before it were refused.
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

// about notes which pod the request is about. Its own name comes after that of the pod, which may be empty.
func (o *outcome) about(r *admissionRequest) {
	o.namespace = r.Namespace
	o.name = cmp.Or(o.name, r.Name)
	o.dryRun = r.isDryRun()
}

// What a name of Kubernetes may have, in bytes. What comes from a request is cut to it in the log.
const (
	maxNamespace = 63
	maxName      = 253
)

func cut(text string, most int) string { return fmt.Sprintf("%.*s", most, text) }

// log writes one line: at debug for a decision, at warn for a problem.
func (o *outcome) log(logger *slog.Logger) {
	namespace, name := cut(o.namespace, maxNamespace), cut(o.name, maxName)
	if o.problem == nil {
		logger.Debug("admission", "reason", o.decision.Reason.String(), "namespace", namespace,
			"pod", name, "dry_run", o.dryRun, "warnings", o.decision.Warnings)
		return
	}
	attrs := []any{"reason", o.problem.kind.String(), "namespace", namespace, "pod", name}
	if o.problem.err != nil {
		attrs = append(attrs, "err", fmt.Sprintf("%.256s", o.problem.err))
	}
	if o.problem.stack != nil {
		attrs = append(attrs, "stack", string(o.problem.stack))
	}
	message := "admission went wrong: "
	if o.problem.kind.Rejected() {
		message = "request rejected: "
	}
	logger.Warn(message+o.problem.kind.Sentence(), attrs...)
}
