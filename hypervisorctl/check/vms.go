package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

const vmsSection section = "vms"

// population counts the VMs of a check: those that are measured, and the others by why they are not.
type population struct {
	// running counts those in enabled namespaces; outside those in other namespaces, of which none is expected.
	running, outside int
	// measured counts those whose series the source has.
	measured int
	byCause  map[vm.Cause][]string
	// missing and unasked have, by the source's error, VMs whose sidecar runs: without a series, and not asked about.
	missing, unasked map[string][]string
	// byPolicy says that the API server injects, without a webhook.
	byPolicy bool
	// sockets counts, by node, the sidecars that need a relay.
	sockets map[string]int
}

func newPopulation() *population {
	return &population{byCause: map[vm.Cause][]string{}, missing: map[string][]string{}, unasked: map[string][]string{}, sockets: map[string]int{}}
}

// add counts one VM.
func (p *population) add(one survey.VM) {
	if launcher := one.Launcher; launcher != nil && launcher.Sidecar.State != vm.Absent && launcher.Sidecar.State != vm.Ended && launcher.Sidecar.Socket {
		p.sockets[launcher.Node]++
	}
	switch one.Cause.Why {
	case vm.NotRunning:
		return
	case vm.PodsRefused:
		p.byCause[one.Cause] = append(p.byCause[one.Cause], one.VMI.Key().String())
		return
	case vm.NotEnabled:
		p.outside++
		return
	case vm.Expected, vm.NoPod, vm.Ambiguous, vm.Refused, vm.Unread, vm.Missed, vm.RefusedBefore, vm.SidecarStarting, vm.SidecarFailing, vm.SidecarEnded:
	}
	p.running++
	name := one.VMI.Key().String()
	p.byCause[one.Cause] = append(p.byCause[one.Cause], name)
	switch {
	case one.Finding != nil:
		p.measured++
	case one.Unasked():
		p.unasked[one.Err.Error()] = append(p.unasked[one.Err.Error()], name)
	case one.Err != nil:
		p.missing[one.Err.Error()] = append(p.missing[one.Err.Error()], name)
	}
}

// lines judges the VMs. A VM counts as measured only if the source has its series; without a source that is not known.
func (p *population) lines(from source.Source, unasked string) []Line {
	const s = vmsSection
	carrying := len(p.byCause[vm.Cause{}])
	var lines []Line
	switch {
	case p.running == 0:
		lines = append(lines, s.ok("no VM runs in a namespace that is labelled for sidecars"))
	case from == nil && carrying > 0:
		lines = append(lines, s.warn("give --prometheus-url, or get the Role hypervisorctl-relay (hypervisorctl/rbac.yaml)", "the sidecar runs beside %d of %d VMs; whether they are measured was not checked: %s", carrying, p.running, unasked))
	case from != nil && p.measured > 0:
		lines = append(lines, s.ok("%d of %d VMs are measured (asked: %s)", p.measured, p.running, from.Name()))
	}
	lines = append(lines, p.unmeasured()...)
	for _, cause := range p.causes() {
		line := causeLine(cause, p.byCause[cause])
		if p.byPolicy && cause.Why == vm.PodsRefused { // a webhook would leave a later pod alone
			line.Level = Fail
		}
		lines = append(lines, line)
	}
	if p.outside > 0 {
		lines = append(lines, s.ok("%s in namespaces that are not labelled for sidecars", vms(p.outside, "runs", "run")))
	}
	return lines
}

// mostReasons is how many of a source's errors have a line each.
const mostReasons = 5

// unmeasured has the VMs whose sidecar runs and that the source does not know, or was not asked about.
func (p *population) unmeasured() []Line {
	const s = vmsSection
	var lines []Line
	for _, reason := range most(p.missing) {
		line := s.fail("is the target up? A VM with the binding masquerade or bridge needs the exposure unix and the relay (docs/operations.md)",
			"%s not measured although the sidecar runs: %s", vms(len(p.missing[reason]), "is", "are"), reason)
		line.Objects = sorted(p.missing[reason])
		lines = append(lines, line)
	}
	for _, reason := range most(p.unasked) {
		line := s.warn(rightsHint, "whether %s measured was not checked: %s", vms(len(p.unasked[reason]), "is", "are"), reason)
		line.Objects = sorted(p.unasked[reason])
		lines = append(lines, line)
	}
	return lines
}

// most returns the reasons that hold for most VMs, and puts the VMs of the others under one reason.
func most(byReason map[string][]string) []string {
	const others = "for other reasons: kubectl hypervisor list -o yaml shows each"
	reasons := slices.SortedFunc(maps.Keys(byReason), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(byReason[b]), len(byReason[a])), cmp.Compare(a, b))
	})
	if len(reasons) <= mostReasons {
		return reasons
	}
	for _, reason := range reasons[mostReasons-1:] {
		byReason[others] = append(byReason[others], byReason[reason]...)
	}
	return append(reasons[:mostReasons-1], others)
}

// causes are those for which VMs have no metric, in a fixed order.
func (p *population) causes() []vm.Cause {
	all := slices.DeleteFunc(slices.Collect(maps.Keys(p.byCause)), func(cause vm.Cause) bool { return cause.Why == vm.Expected })
	slices.SortFunc(all, func(a, b vm.Cause) int {
		return cmp.Or(cmp.Compare(a.Why, b.Why), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail))
	})
	return all
}

func causeLine(cause vm.Cause, names []string) Line {
	return Line{
		Section: string(vmsSection), Level: causeLevel(cause), Hint: cause.Hint(), Objects: sorted(names),
		Text: fmt.Sprintf("%s no metric: %s: %s", vms(len(names), "has", "have"), cause.Short(), cause.Sentence()),
	}
}

// causeLevel: a VM that cannot get a sidecar is a warning; a sidecar that should run and does not is a failure.
func causeLevel(cause vm.Cause) Level {
	switch cause.Why {
	case vm.Expected, vm.NotRunning, vm.NotEnabled:
		return OK
	case vm.Refused, vm.Unread, vm.Missed, vm.RefusedBefore, vm.PodsRefused, vm.SidecarStarting:
		if cause.Wanted() {
			return OK
		}
		return Warn
	case vm.NoPod, vm.Ambiguous, vm.SidecarFailing, vm.SidecarEnded:
		return Fail
	default:
		return Fail
	}
}

func vms(n int, one, many string) string {
	if n == 1 {
		return "1 VM " + one
	}
	return fmt.Sprintf("%d VMs %s", n, many)
}
