package explain

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Input is what is known of a VMI. What could not be read is nil, with its error.
type Input struct {
	VMI vm.VMI
	// Launcher is its pod; nil where it has none.
	Launcher *vm.Launcher
	// Finding is what its sidecar says; nil where nobody said anything, and Unknown is why.
	Finding *source.Finding
	Source  string
	Unknown string

	Node        *corev1.Node
	NodeErr     error
	KubeVirt    *cluster.KubeVirt
	KubeVirtErr error
}

// The kind of what json and yaml print. It is no resource of the cluster.
const (
	APIVersion = "hypervisorctl.hypervisor-exporter.kubevirt.io/v1"
	Kind       = "HypervisorExplanation"
)

// Explanation is why a VMI has its type.
type Explanation struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	// Type is what its sidecar says; empty where nobody said anything.
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	// Expected is the type that follows from pod, node and KubeVirt; empty where that cannot be told.
	Expected string `json:"expected,omitempty"`
	// Verdict is why the VMI has Type or, where that is not known, why Expected is expected.
	Verdict  Verdict `json:"verdict"`
	Sentence string  `json:"sentence"`
	Advice   string  `json:"advice,omitempty"`
	Facts    []Fact  `json:"facts"`
}

// DeepCopyObject implements runtime.Object, for the printers of cli-runtime.
func (e *Explanation) DeepCopyObject() runtime.Object {
	copied := *e
	copied.Facts = append([]Fact(nil), e.Facts...)
	return &copied
}

// The types that a sidecar shows.
const (
	kvm     = "kvm"
	tcg     = "qemu-tcg"
	unknown = "unknown"
)

// Explain finds the verdict.
func Explain(in Input) *Explanation {
	e := &Explanation{
		TypeMeta:  metav1.TypeMeta{APIVersion: APIVersion, Kind: Kind},
		Namespace: in.VMI.Namespace, Name: in.VMI.Name, Source: in.Source, Facts: facts(in),
	}
	if in.VMI.Phase != vm.Running || in.Launcher == nil {
		e.Verdict = NotRunning
	} else {
		var because Verdict
		e.Expected, because = expected(in)
		e.Verdict = because
		if in.Finding != nil {
			e.Type = in.Finding.Type
			e.Verdict = judge(in, e.Expected, because)
		}
	}
	e.Sentence, e.Advice = e.Verdict.Sentence(), e.Verdict.Advice()
	if e.Verdict == EmulationAllowed && in.KubeVirt != nil && !in.KubeVirt.UseEmulation {
		e.Advice = "useEmulation is off by now: the VM gets the device when it is restarted: virtctl restart NAME."
	}
	e.Advice = named(e.Advice, in)
	if e.Type == "" && e.Verdict != NotRunning {
		e.Sentence = "Nobody saw it. By what KubeVirt wrote into the pod it should be so: " + e.Sentence
	}
	return e
}

// named puts the VMI and its pod in the place of NAME and POD, so that a command can be typed as it stands.
func named(advice string, in Input) string {
	pairs := []string{"NAME", in.VMI.Name + " -n " + in.VMI.Namespace}
	if in.Launcher != nil {
		pairs = append(pairs, "POD", in.Launcher.Name+" -n "+in.Launcher.Namespace)
	}
	return strings.NewReplacer(pairs...).Replace(advice)
}

// judge compares what was seen with what is expected.
func judge(in Input, expected string, because Verdict) Verdict {
	switch {
	case in.Finding.Type == expected:
		return because
	case in.Finding.Type == unknown && in.Finding.DomainType == "hyperv" && because == OtherHypervisor:
		return OtherHypervisor
	case in.Finding.Type == unknown && in.Finding.DomainType == "":
		return NotHeard
	case in.Launcher.Options.Hooks:
		return Rewritten
	default:
		return Contradiction
	}
}

// expected follows KubeVirt's own way to a domain type (1.6 to 1.9, converter/kvm/configurator.go and
// services/renderresources.go):
//
//	guest's architecture is not the node's          → qemu
//	the pod has no device, and may emulate          → qemu; with useEmulation the device is not asked for
//	the pod has no device, and may not emulate      → the VM does not start
//	the pod has the device                          → kvm
func expected(in Input) (string, Verdict) {
	options := in.Launcher.Options
	switch {
	case crosses(in):
		return tcg, CrossArchitecture
	case options.Device && options.Hypervisor != "" && options.Hypervisor != kvm:
		return unknown, OtherHypervisor
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

// hasDevice says whether the node offers the device: the kubelet takes devices that are not healthy, as KubeVirt's
// device plugin calls one whose file is missing, out of what is allocatable.
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
