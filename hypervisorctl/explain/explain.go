package explain

import (
	"strings"

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

// Explanation is why a VMI has its type.
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
	Facts    []Fact  `json:"facts"`
}

// The types. The sidecar's label hypervisor_type has the first three.
const (
	kvm     = "kvm"
	tcg     = "qemu-tcg"
	unknown = "unknown"
	// hypervDirect is KubeVirt's name (api/core/v1 HyperVDirectHypervisorName, since 1.8).
	hypervDirect = "hyperv-direct"
)

// Explain returns the verdict and what it is based on.
func Explain(in Input) *Explanation {
	e := &Explanation{
		TypeMeta:  vm.TypeMeta("HypervisorExplanation"),
		Namespace: in.VMI.Namespace, Name: in.VMI.Name, Source: in.Source, Facts: facts(in),
	}
	switch in.Cause.Why {
	case vm.NotRunning, vm.PodsRefused, vm.NoPod, vm.Ambiguous: // nothing follows without a pod that is surely the VM's
		sentence := in.Cause.Sentence()
		e.Verdict, e.Sentence = Verdict(in.Cause.Why.String()), strings.ToUpper(sentence[:1])+sentence[1:]+"."
		e.Advice = named(in.Cause.Hint(), in)
		return e
	default:
	}
	e.Expected, e.Verdict = expected(in)
	if in.Finding != nil {
		e.Type = typeOf(in)
		e.Verdict = judge(in, e.Type, e.Expected, e.Verdict)
	}
	text := texts()[e.Verdict]
	e.Sentence, e.Advice = named(text.Sentence, in), named(text.Advice, in)
	if e.Verdict == EmulationAllowed && in.KubeVirt != nil && !in.KubeVirt.UseEmulation {
		e.Advice = named("useEmulation is off now. Restart the VM, and it gets the device: virtctl restart NAME.", in)
	}
	if e.Type == "" && e.Expected != "" {
		e.Sentence = "Not measured; expected from the pod spec: " + e.Sentence
	}
	return e
}

// named replaces NAME, POD and DEVICE, so that a command can be copied as it is.
func named(text string, in Input) string {
	pairs := []string{"DEVICE", string(deviceName(in)), "NAME", in.VMI.Name + " -n " + in.VMI.Namespace}
	if in.Launcher != nil {
		pairs = append(pairs, "POD", in.Launcher.Name+" -n "+in.Launcher.Namespace)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

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

func crosses(in Input) bool {
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
