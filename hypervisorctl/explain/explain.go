package explain

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Input is what is known about a VMI. What could not be read is nil, with its error.
type Input struct {
	survey.VM

	Node        *corev1.Node
	NodeErr     error
	KubeVirt    *cluster.KubeVirt
	KubeVirtErr error
}

// Explanation is what is wrong with a VMI, and why it has its type.
type Explanation struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	// Type is what its sidecar reports: kvm, qemu-tcg or unknown. A domain of type hyperv in a pod that has the device mshv is
	// hyperv-direct. Empty if the sidecar was not asked or did not answer.
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	// Expected is the type that follows from pod, node and KubeVirt; empty if none follows.
	Expected string `json:"expected,omitempty"`
	// Verdict is why the VMI has Type or, if that is not known, why Expected is expected.
	Verdict  Verdict `json:"verdict"`
	Sentence string  `json:"sentence"`
	Advice   string  `json:"advice,omitempty"`
	// Result is the worst of Problems, which are from worst to least.
	Result   Result    `json:"result"`
	Problems []Problem `json:"problems"`
	Facts    []Fact    `json:"facts"`
}

// The types. The sidecar's label hypervisor_type has the first three.
const (
	kvm     = "kvm"
	tcg     = "qemu-tcg"
	unknown = "unknown"
	// hypervDirect is KubeVirt's name (api/core/v1 HyperVDirectHypervisorName, since 1.8).
	hypervDirect = "hyperv-direct"
)

// Explain returns the problems, the verdict on the type, and what they are based on.
func Explain(in Input) *Explanation {
	e := &Explanation{
		TypeMeta:  vm.TypeMeta("HypervisorExplanation"),
		Namespace: in.VMI.Namespace, Name: in.VMI.Name, Source: in.Source, Problems: []Problem{}, Facts: facts(in),
	}
	e.Problems = append(e.Problems, Problems(in)...) // in JSON [], not null
	e.judge(in)
	e.Result = resultOf(in, e)
	return e
}

// judge fills in the verdict on the type.
func (e *Explanation) judge(in Input) {
	switch in.Cause.Why {
	case vm.NotRunning, vm.Unschedulable, vm.PodsRefused, vm.NoPod, vm.Ambiguous: // nothing follows without a pod that is surely the VM's
		e.Verdict, e.Sentence = Verdict(in.Cause.Why.String()), capital(in.Cause.Sentence())+"."
		e.Advice = advice(in.Cause.Hint(), in)
		return
	default:
	}
	if in.Finding != nil {
		e.Type = typeOf(in)
	}
	e.Expected, e.Verdict = judged(in)
	text := textOf(e.Verdict, in)
	e.Sentence, e.Advice = advice(text.Sentence, in), advice(text.Advice, in)
	if e.Type == "" && e.Expected != "" {
		e.Sentence = "Not measured; expected from the pod spec: " + e.Sentence
	}
}

// judged returns the expected type, and the verdict on the measured one or, if none was measured, on the expected one.
func judged(in Input) (expectedType string, because Verdict) {
	expectedType, because = expected(in)
	if in.Finding == nil {
		return expectedType, because
	}
	return expectedType, judge(in, typeOf(in), expectedType, because)
}

// textOf returns a verdict's text.
func textOf(verdict Verdict, in Input) Text {
	text := texts()[verdict]
	if verdict == EmulationAllowed && in.KubeVirt != nil && !in.KubeVirt.UseEmulation {
		text.Advice = "useEmulation is off now, so a new pod gets the device: RESTART"
	}
	return text
}

// advice puts the VM's names, and the commands that work for it, into a text.
func advice(text string, in Input) string { return in.VMI.Advice(text, in.Launcher) }

// typeOf returns the sidecar's type, or hyperv-direct, for which the sidecar reports unknown.
func typeOf(in Input) string {
	options := in.Launcher.Options
	if in.Finding.Type == unknown && in.Finding.DomainType == "hyperv" && options.Hypervisor == hypervDirect && options.Device {
		return hypervDirect
	}
	return in.Finding.Type
}

// judge compares the measured type with the expected one.
func judge(in Input, measured, expected string, because Verdict) Verdict {
	switch {
	case measured == expected:
		return because
	case because == CrossArchitectureOpen && measured == tcg:
		return CrossArchitecture
	case because == CrossArchitectureOpen && measured == kvm:
		return CrossArchitectureHardware
	case measured == unknown && in.Finding.DomainType == "":
		return NotHeard
	case in.Launcher.Options.Hooks:
		return Rewritten
	default:
		return Contradiction
	}
}

// expected follows KubeVirt's own decision about the domain type (1.6 to 1.9: converter/kvm/configurator.go,
// converter/mshv, services/renderresources.go; VEP 172 for later ones):
//
//	condition HardwareEmulation                    → kvm, for another architecture
//	condition SoftwareEmulation                    → qemu, for another architecture
//	the pod has the device of hyperv-direct        → hyperv
//	guest's architecture is not the node's         → qemu, or kvm if the node's KVM can execute it
//	the pod has the device                         → kvm
//	the pod has no device, and emulation allowed   → qemu; with useEmulation KubeVirt does not ask for the device
//	the pod has no device, and not allowed         → the VM does not start
func expected(in Input) (string, Verdict) {
	options := in.Launcher.Options
	switch {
	case in.VMI.HardwareEmulation:
		return kvm, CrossArchitectureHardware
	case in.VMI.SoftwareEmulation:
		return tcg, CrossArchitecture
	case options.Device && options.Hypervisor == hypervDirect:
		return hypervDirect, HypervDirect
	case options.Device && options.Hypervisor != "" && options.Hypervisor != kvm:
		return unknown, OtherHypervisor
	case crosses(in):
		return "", CrossArchitectureOpen
	case options.Device:
		return kvm, Hardware
	case options.AllowEmulation && in.Node != nil && !hasDevice(in):
		return tcg, NoDevice
	case options.AllowEmulation:
		return tcg, EmulationAllowed
	default:
		return "", Contradiction
	}
}

// crosses reports whether the guest's architecture is another one than its node's: by the sidecar, or by the objects. libvirt
// gives a 32-bit guest of the same CPU a name of its own, which KubeVirt does not use.
func crosses(in Input) bool {
	if in.Finding != nil && in.Finding.Arch != "" && in.Finding.HostArch != "" {
		return in.Finding.Arch != in.Finding.HostArch
	}
	if in.VMI.Architecture == "" || in.Node == nil {
		return false
	}
	host := in.Node.Status.NodeInfo.Architecture
	return host != "" && host != in.VMI.Architecture
}

// hasDevice reports whether the node offers the device. The kubelet does not count an unhealthy device as allocatable, and
// KubeVirt's device plugin reports a device as unhealthy while its file is missing.
func hasDevice(in Input) bool {
	quantity := in.Node.Status.Allocatable[deviceName(in)]
	return !quantity.IsZero()
}

func deviceName(in Input) corev1.ResourceName {
	hypervisor := ""
	if in.Launcher != nil {
		hypervisor = in.Launcher.Options.Hypervisor
	}
	return corev1.ResourceName(vm.Device(hypervisor))
}
