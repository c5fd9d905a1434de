package explain

import (
	"cmp"
	"fmt"
	"strings"

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
	if in.Launcher != nil {
		list = append(list, Fact{"pod", podFact(in)})
	}
	if in.VMI.Node != "" {
		list = append(list, nodeFacts(in)...)
	}
	return append(list, Fact{"KubeVirt now", kubeVirtFact(in)})
}

func vmiFact(in Input) string {
	text := fmt.Sprintf("phase %s, architecture %s, machine %s", cmp.Or(in.VMI.Phase, "-"), cmp.Or(in.VMI.Architecture, "-"), cmp.Or(in.VMI.Machine, "-"))
	if in.VMI.SoftwareEmulation {
		text += ", condition SoftwareEmulation"
	}
	if in.VMI.HardwareEmulation {
		text += ", condition HardwareEmulation"
	}
	return text
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
	return []Fact{
		{"node", fmt.Sprintf("%s, architecture %s, kernel %s", in.Node.Name, cmp.Or(info.Architecture, "-"), cmp.Or(info.KernelVersion, "-"))},
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

// Print writes an explanation as text.
func Print(out *terminal.Writer, e *Explanation) error {
	errs := []error{out.Printf("%s/%s: %s\n\n%s\n", e.Namespace, e.Name, headline(e), e.Sentence)}
	if e.Advice != "" {
		errs = append(errs, out.Printf("%s\n", e.Advice))
	}
	errs = append(errs, out.Printf("\n"))
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
		return fmt.Sprintf("%s (reported by its sidecar), but %s was expected", e.Type, e.Expected)
	case e.Type != "":
		return fmt.Sprintf("%s (reported by its sidecar)", e.Type)
	case e.Expected != "":
		return fmt.Sprintf("%s expected, but not measured", e.Expected)
	default:
		return "not known"
	}
}
