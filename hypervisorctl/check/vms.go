package check

import (
	"cmp"
	"maps"
	"slices"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// population counts the VMs of a check: those that are measured, and the others by why they are not.
type population struct {
	// notes are lines about what could not be read.
	notes []Line
	// running counts those in enabled namespaces; outside those in other namespaces, which need not be measured.
	running, outside int
	// measured counts those whose series the source has.
	measured int
	byCause  map[group]*members
	// missing and unasked are VMs whose sidecar runs, by the source's error: those without a series, and those about which
	// the source could not be asked.
	missing, unasked map[string][]string
	// sockets counts, by node, the sidecars that need a relay.
	sockets map[string]int
}

// group is VMs that have no metric for the same reason and need the same command; the hint has NAME for each.
type group struct {
	cause vm.Cause
	hint  string
}

// members are the VMs of a group.
type members struct {
	first survey.VM
	names []string
}

func newPopulation(vms []survey.VM) *population {
	p := &population{byCause: map[group]*members{}, missing: map[string][]string{}, unasked: map[string][]string{}, sockets: map[string]int{}}
	for _, one := range vms {
		p.add(one)
	}
	return p
}

func (p *population) add(one survey.VM) {
	if launcher := one.Launcher; launcher != nil && launcher.Sidecar.State != vm.Absent && launcher.Sidecar.State != vm.Ended && launcher.Sidecar.Socket {
		p.sockets[launcher.Node]++
	}
	switch one.Cause.Why {
	case vm.NotRunning, vm.Unschedulable:
		return
	case vm.NotEnabled:
		p.outside++
		return
	case vm.PodsRefused: // it does not run either, but should
	default:
		p.running++
	}
	name := one.VMI.Key().String()
	needs := group{one.Cause, one.VMI.Fit(one.Cause.Hint())}
	if p.byCause[needs] == nil {
		p.byCause[needs] = &members{first: one}
	}
	p.byCause[needs].names = append(p.byCause[needs].names, name)
	switch {
	case one.Finding != nil:
		p.measured++
	case one.Unasked():
		p.unasked[one.Err.Error()] = append(p.unasked[one.Err.Error()], name)
	case one.Err != nil:
		p.missing[one.Err.Error()] = append(p.missing[one.Err.Error()], name)
	}
}

// withSidecar counts the VMs in enabled namespaces whose sidecar runs.
func (p *population) withSidecar() int {
	if with := p.byCause[group{}]; with != nil {
		return len(with.names)
	}
	return 0
}

// lines judges the VMs. A VM counts as measured only if the source has its series; without a source that is not known.
func (p *population) lines(from source.Source, noSource string, byPolicy bool) []Line {
	lines, withSidecar := p.notes, p.withSidecar()
	switch {
	case p.running == 0:
		lines = append(lines, ok("no VM runs in a namespace that is labelled for sidecars"))
	case from == nil && withSidecar > 0:
		lines = append(lines, warn("set --prometheus-url, or get the Role hypervisorctl-relay (kubectl hypervisor rbac)",
			"the sidecar runs in %d of %d VMs; not checked whether they are measured: %s", withSidecar, p.running, noSource))
	case from != nil && p.measured > 0:
		lines = append(lines, ok("%d of %d VMs are measured (source: %s)", p.measured, p.running, from.Name()))
	}
	for _, reason := range survey.MostFrequent(p.missing) {
		lines = append(lines, fail("check whether the target is up; a VM with the binding masquerade or bridge needs the exposure unix and the relay (docs/operations.md)",
			"%s not measured although the sidecar runs: %s", survey.Count(len(p.missing[reason]), "VM is", "VMs are"), reason).about(p.missing[reason]))
	}
	for _, reason := range survey.MostFrequent(p.unasked) {
		lines = append(lines, warn(rightsHint, "not checked whether %s measured: %s",
			survey.Count(len(p.unasked[reason]), "VM is", "VMs are"), reason).about(p.unasked[reason]))
	}
	for _, needs := range p.groups() {
		lines = append(lines, causeLine(needs, p.byCause[needs], byPolicy))
	}
	if p.outside > 0 {
		lines = append(lines, ok("%s in namespaces that are not labelled for sidecars", survey.Count(p.outside, "VM runs", "VMs run")))
	}
	return lines
}

// groups returns those of VMs without a metric, in a fixed order.
func (p *population) groups() []group {
	all := slices.DeleteFunc(slices.Collect(maps.Keys(p.byCause)), func(g group) bool { return g.cause.Why == vm.Expected })
	slices.SortFunc(all, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.cause.Why, b.cause.Why), cmp.Compare(a.cause.Reason, b.cause.Reason),
			cmp.Compare(a.cause.Detail, b.cause.Detail), cmp.Compare(a.hint, b.hint))
	})
	return all
}

// causeLine: a VM that should have no sidecar is ok, one that cannot get one is a warning, and a sidecar that should run and
// does not is a failure. A policy refuses a VM's later pods, too; a webhook would leave a later pod alone. The hint names a
// VM that is alone.
func causeLine(of group, found *members, byPolicy bool) Line {
	cause, hint := of.cause, of.hint
	if len(found.names) == 1 {
		hint = found.first.VMI.Named(hint, found.first.Launcher)
	}
	line := warn(hint, "%s no metric: %s: %s", survey.Count(len(found.names), "VM has", "VMs have"), cause.Short(), cause.Sentence())
	switch cause.Why {
	case vm.NoPod, vm.Ambiguous, vm.SidecarFailing, vm.SidecarEnded:
		line.Level = Fail
	case vm.PodsRefused:
		if byPolicy {
			line.Level = Fail
		}
	default:
		if cause.Wanted() {
			line.Level = OK
		}
	}
	return line.about(found.names)
}
