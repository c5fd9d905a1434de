package explain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Severity is what a problem does to a VM.
type Severity string

// The severities, from worst to least.
const (
	// Stopped: the VM executes nothing.
	Stopped Severity = "stopped"
	// Stuck: the VM cannot be controlled, and may execute nothing.
	Stuck Severity = "stuck"
	// Slow: the VM executes, much slower than it could.
	Slow Severity = "slow"
	// Improvable: the VM could do better.
	Improvable Severity = "improvable"
)

// Problem is something that stops a VM or makes it slow.
type Problem struct {
	// Name is one of a fixed set, in snake case.
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Sentence is what it is, Cost what it costs and from where that is known, Change what to do.
	Sentence string `json:"sentence"`
	Cost     string `json:"cost,omitempty"`
	Change   string `json:"change,omitempty"`
}

// Problems returns a VM's problems, from worst to least. Without Node and KubeVirt object, texts have less detail.
func Problems(in Input) []Problem {
	if why := in.Cause.Why; why == vm.PodsRefused || why == vm.Unschedulable {
		return []Problem{{Name: why.String(), Severity: Stopped, Sentence: capital(in.Cause.Sentence()) + ".", Cost: "the VM does not run", Change: advice(in.Cause.Hint(), in)}}
	}
	if in.VMI.Phase != vm.Running {
		return nil
	}
	var problems []Problem
	for _, one := range kinds() {
		if !one.is(in) {
			continue
		}
		if one.sentence == "" {
			_, because := judged(in)
			text := textOf(because, in)
			one.sentence, one.change = text.Sentence, text.Advice
		}
		problems = append(problems, Problem{one.name, one.severity, details(advice(one.sentence, in), in), one.cost, details(advice(one.change, in), in)})
	}
	return problems
}

// details puts what was found in place of a text's words. It is called last: nothing in a found value is replaced.
func details(text string, in Input) string {
	f := source.Finding{}
	if in.Finding != nil {
		f = *in.Finding
	}
	return strings.NewReplacer("SECONDS", (time.Duration(f.ControlSeconds) * time.Second).String(), "VIRTUALIZATION", f.Node.Virtualization,
		"MODEL", f.CPUModel, "HYPERV", f.Hyperv, "NODE", in.VMI.Node).Replace(text)
}

// notKnown lists what could hide a problem, because the VM's sidecar or its node's relay does not report it.
func notKnown(in Input) []string {
	if in.Finding == nil {
		return nil
	}
	var list []string
	for _, one := range []struct {
		missing bool
		what    string
	}{
		{in.Finding.DomainState == "", "libvirt's state"},
		{in.Finding.ControlState == "", "QEMU's monitor"},
		{in.Finding.Hyperv == "", "CPU, disks and interfaces"},
		{slices.Contains([]string{"", unknown}, in.Finding.Node.Virtualization), "whether the node is a VM"},
		{in.VMI.GuestOS == "", "the guest's system (no guest agent)"},
	} {
		if one.missing {
			list = append(list, one.what)
		}
	}
	return list
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// Names are those of the problems.
func Names(problems []Problem) []string {
	var names []string
	for _, one := range problems {
		names = append(names, one.Name)
	}
	return names
}

// Result is the worst that is known about a VM: a severity, or one of the three below.
type Result string

// The results of a VM without a problem.
const (
	NoProblem  Result = "no_problem"
	NotRunning Result = "not_running"
	// NotKnown: no sidecar reports about it.
	NotKnown Result = "not_known"
)

func resultOf(in Input, e *Explanation) Result {
	switch {
	case len(e.Problems) > 0:
		return Result(e.Problems[0].Severity)
	case in.VMI.Phase != vm.Running:
		return NotRunning
	case in.Finding == nil || e.Verdict == NotHeard:
		return NotKnown
	default:
		return NoProblem
	}
}

// words are the result as a headline.
func (r Result) words() string {
	return cmp.Or(map[Result]string{
		Result(Stopped): "stands still", Result(Stuck): "stuck", Result(Slow): "slow", Result(Improvable): "runs, and could do better",
		NoProblem: "no problem found", NotRunning: "does not run",
	}[r], "not known")
}
