package check

import (
	"cmp"
	"fmt"
	"slices"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

const vmsSection section = "vms"

// population is the VMIs of a check, by why they have no metric.
type population struct {
	// running counts those in enabled namespaces; outside those elsewhere, of which none is expected.
	running, outside int
	byCause          map[vm.Cause][]string
	// sockets counts, by node, the sidecars that need a relay.
	sockets map[string]int
}

func newPopulation() *population {
	return &population{byCause: map[vm.Cause][]string{}, sockets: map[string]int{}}
}

// add takes up one VMI.
func (p *population) add(vmi vm.VMI, launcher *vm.Launcher, enabled vm.Enabled) {
	if launcher != nil && launcher.Sidecar.State != vm.Absent && launcher.Sidecar.State != vm.Ended && launcher.Sidecar.Socket {
		p.sockets[launcher.Node]++
	}
	cause := vm.Diagnose(vmi, launcher, enabled)
	switch cause.Why {
	case vm.NotRunning:
		return
	case vm.NotEnabled:
		p.outside++
		return
	case vm.Expected, vm.NoPod, vm.Refused, vm.Unread, vm.Missed, vm.SidecarStarting, vm.SidecarFailing, vm.SidecarEnded:
	}
	p.running++
	p.byCause[cause] = append(p.byCause[cause], vmi.Key().String())
}

func (p *population) lines() []Line {
	const s = vmsSection
	var lines []Line
	switch carrying := len(p.byCause[vm.Cause{}]); {
	case p.running == 0:
		lines = append(lines, s.ok("no VM runs in a namespace that asks for sidecars"))
	case carrying == p.running:
		lines = append(lines, s.ok("the sidecar runs beside all VMs: %d", p.running))
	case carrying > 0:
		lines = append(lines, s.ok("the sidecar runs beside %d of %d VMs", carrying, p.running))
	}
	for _, cause := range p.causes() {
		lines = append(lines, causeLine(cause, p.byCause[cause]))
	}
	if p.outside > 0 {
		lines = append(lines, s.ok("%s in namespaces that do not ask for sidecars", vms(p.outside, "runs", "run")))
	}
	return lines
}

// causes is those for which VMs have no metric, in a fixed order.
func (p *population) causes() []vm.Cause {
	var all []vm.Cause
	for cause := range p.byCause {
		if cause.Why != vm.Expected {
			all = append(all, cause)
		}
	}
	slices.SortFunc(all, func(a, b vm.Cause) int {
		return cmp.Or(cmp.Compare(a.Why, b.Why), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail))
	})
	return all
}

func causeLine(cause vm.Cause, names []string) Line {
	slices.Sort(names)
	line := Line{
		Section: string(vmsSection), Level: causeLevel(cause), Hint: cause.Hint(), Objects: names,
		Text: fmt.Sprintf("%s no metric: %s: %s", vms(len(names), "has", "have"), cause.Short(), cause.Sentence()),
	}
	return line
}

// causeLevel: a VM that nobody can give a sidecar is told, a sidecar that should run and does not is a failure.
func causeLevel(cause vm.Cause) Level {
	switch cause.Why {
	case vm.Expected, vm.NotRunning, vm.NotEnabled:
		return OK
	case vm.Refused, vm.Unread, vm.Missed, vm.SidecarStarting:
		if cause.Wanted() {
			return OK
		}
		return Warn
	case vm.NoPod, vm.SidecarFailing, vm.SidecarEnded:
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

// seriesLine tells of the VMs whose sidecar runs and that Prometheus does not know.
func seriesLine(expected int, missing []string) Line {
	const s = vmsSection
	switch {
	case expected == 0:
		return s.ok("no VM is to have a series in Prometheus")
	case len(missing) == 0:
		return s.ok("all VMs with a sidecar have their series in Prometheus: %d", expected)
	default:
		slices.Sort(missing)
		line := s.fail("is their target up? A VM with the binding masquerade or bridge needs the exposure unix and the relay (docs/operations.md)",
			"%d of %d VMs with a sidecar have no series in Prometheus", len(missing), expected)
		line.Objects = missing
		return line
	}
}
