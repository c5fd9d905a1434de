package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Fact is one thing that the verdict is based on.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func facts(in Input) []Fact {
	list := []Fact{{"VMI", vmiFact(in)}, {"domain", domainFact(in)}}
	if f := in.Finding; f != nil && f.DomainState != "" {
		list = append(list, Fact{"state", stateFact(f)})
	}
	if f := in.Finding; f != nil && f.Hyperv != "" {
		list = append(list, Fact{"hardware", hardwareFact(f)})
	}
	if in.Launcher != nil {
		list = append(list, Fact{"pod", podFact(in)})
	}
	if in.VMI.Node != "" {
		list = append(list, nodeFacts(in)...)
	}
	list = append(list, Fact{"KubeVirt now", kubeVirtFact(in)})
	if missing := notKnown(in); len(missing) > 0 {
		list = append(list, Fact{"not known", strings.Join(missing, ", ")})
	}
	if in.Finding == nil && in.VMI.Phase == vm.Running && in.Cause.Hint() != "" {
		list = append(list, Fact{"to know it", advice(in.Cause.Hint(), in)})
	}
	return list
}

func vmiFact(in Input) string {
	text := fmt.Sprintf("phase %s, architecture %s, machine %s", cmp.Or(in.VMI.Phase, "-"), cmp.Or(in.VMI.Architecture, "-"), cmp.Or(in.VMI.Machine, "-"))
	if in.VMI.SoftwareEmulation {
		text += ", condition SoftwareEmulation"
	}
	if in.VMI.HardwareEmulation {
		text += ", condition HardwareEmulation"
	}
	return text + ", " + in.VMI.Ownership()
}

func stateFact(f *source.Finding) string {
	text := fmt.Sprintf("%s (%s)", f.DomainState, f.StateReason)
	if f.ControlState == "" {
		return text
	}
	text += ", QEMU's monitor " + f.ControlState
	if f.ControlSeconds > 0 {
		text += " for " + (time.Duration(f.ControlSeconds) * time.Second).String()
	}
	return text
}

func hardwareFact(f *source.Finding) string {
	return fmt.Sprintf("CPU %s, disks %s, interfaces %s, memory %s, enlightenments %s, launch security %s",
		cmp.Or(f.CPUModel, "-"), cmp.Or(f.Disks, "-"), cmp.Or(f.NICs, "-"), cmp.Or(f.Memory, "-"), f.Hyperv, cmp.Or(f.LaunchSecurity, "-"))
}

func domainFact(in Input) string {
	switch {
	case in.Finding != nil:
	case in.Cause.Why != vm.Expected:
		return "not known: " + in.Cause.Sentence()
	case in.Err != nil:
		return fmt.Sprintf("not known: %s", in.Err)
	default:
		return "not known: no source was asked (--source)"
	}
	f := in.Finding
	return fmt.Sprintf("type %s, architecture %s, machine %s, QEMU %s, libvirt %s (from %s)",
		cmp.Or(f.DomainType, "-"), cmp.Or(f.Arch, "-"), cmp.Or(f.Machine, "-"), cmp.Or(f.HypervisorVersion, "-"), cmp.Or(f.LibvirtVersion, "-"), in.Source)
}

func podFact(in Input) string {
	options := in.Launcher.Options
	words := []string{in.Launcher.Name}
	add := func(when bool, word string) {
		if when {
			words = append(words, word)
		}
	}
	add(options.Device, "asks for "+string(deviceName(in)))
	add(!options.Device, "does not ask for "+string(deviceName(in)))
	add(true, "emulation "+allowed(options.AllowEmulation))
	add(options.AllowCrossArchitecture, "cross-architecture emulation allowed")
	add(options.Hypervisor != "", "hypervisor "+options.Hypervisor)
	add(options.Hooks, "with hook sidecars")
	add(len(in.Launcher.Rivals) > 0, "or instead "+strings.Join(in.Launcher.Rivals, " or "))
	return strings.Join(words, ", ")
}

func nodeFacts(in Input) []Fact {
	if in.Node == nil {
		return []Fact{{"node", fmt.Sprintf("%s, could not be read: %v", in.VMI.Node, in.NodeErr)}}
	}
	allocatable, capacity := in.Node.Status.Allocatable[deviceName(in)], in.Node.Status.Capacity[deviceName(in)]
	info := in.Node.Status.NodeInfo
	text := fmt.Sprintf("%s, architecture %s, kernel %s", in.Node.Name, cmp.Or(info.Architecture, "-"), cmp.Or(info.KernelVersion, "-"))
	if in.Finding != nil && in.Finding.Node != (source.Node{}) {
		can := in.Finding.Node
		text += fmt.Sprintf(", virtualization %s, hardware paging %s, nested %s", cmp.Or(can.Virtualization, "-"), cmp.Or(can.HardwarePaging, "-"), cmp.Or(can.Nested, "-"))
	}
	return []Fact{
		{"node", text},
		{"node devices", fmt.Sprintf("%s: %s allocatable of %s", deviceName(in), allocatable.String(), capacity.String())},
		{"node labels", labelFact(in.Node.Labels)},
	}
}

// labelFact shows the labels that KubeVirt sets and that matter for the type.
func labelFact(labels map[string]string) string {
	var words []string
	for _, key := range []string{"kubevirt.io/schedulable", "kubevirt.io/vm-arch-amd64", "kubevirt.io/vm-arch-arm64", "kubevirt.io/vm-arch-s390x"} {
		if value, ok := labels[key]; ok {
			words = append(words, key+"="+value)
		}
	}
	if len(words) == 0 {
		return "none of KubeVirt's: virt-handler does not run on this node"
	}
	return strings.Join(words, ", ")
}

func kubeVirtFact(in Input) string {
	switch {
	case in.KubeVirtErr != nil:
		return fmt.Sprintf("could not be read: %v", in.KubeVirtErr)
	case in.KubeVirt == nil:
		return "there is no KubeVirt object"
	}
	return fmt.Sprintf("%s, useEmulation %t, cross-architecture %s",
		cmp.Or(in.KubeVirt.Version, "-"), in.KubeVirt.UseEmulation, allowed(in.KubeVirt.CrossArchitecture))
}

func allowed(yes bool) string {
	if yes {
		return "allowed"
	}
	return "not allowed"
}

// Print writes an explanation as text: the verdict, the problems, and what they are based on.
func Print(out *terminal.Writer, e *Explanation) error {
	errs := []error{out.Printf("%s/%s: %s%s\n\n", e.Namespace, e.Name, e.Result.words(), headline(e))}
	// Why a VM has its type is not said twice, and not of one that does not execute.
	if !slices.ContainsFunc(e.Problems, func(p Problem) bool {
		return p.Sentence == e.Sentence || p.Severity == Stopped || p.Severity == Stuck
	}) {
		errs = append(errs, out.Printf("%s\n", e.Sentence))
		if e.Advice != "" {
			errs = append(errs, out.Printf("%s\n", e.Advice))
		}
		errs = append(errs, out.Printf("\n"))
	}
	for _, one := range e.Problems {
		errs = append(errs, out.Printf("%s: %s\n  cost:   %s\n  change: %s\n\n", one.Name, one.Sentence, one.Cost, one.Change))
	}
	widest := 0
	for _, fact := range e.Facts {
		widest = max(widest, len(fact.Name))
	}
	for _, fact := range e.Facts {
		errs = append(errs, out.Printf("%-*s  %s\n", widest, fact.Name, fact.Value))
	}
	return cmp.Or(errs...)
}

// headline never shows an expected type as one that was measured.
func headline(e *Explanation) string {
	switch {
	case e.Type != "" && e.Expected != "" && e.Type != e.Expected:
		return fmt.Sprintf("; on %s (reported by its sidecar), but %s was expected", e.Type, e.Expected)
	case e.Type != "":
		return fmt.Sprintf("; on %s (reported by its sidecar)", e.Type)
	case e.Expected != "":
		return fmt.Sprintf("; %s expected, but not measured", e.Expected)
	default:
		return ""
	}
}
