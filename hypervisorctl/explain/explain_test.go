package explain

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

func node(architecture, devices string) *corev1.Node {
	n := &corev1.Node{}
	n.Status.NodeInfo.Architecture = architecture
	n.Status.Allocatable = corev1.ResourceList{"devices.kubevirt.io/kvm": resource.MustParse(devices)}
	return n
}

func TestVerdicts(t *testing.T) {
	device := vm.LauncherOptions{Device: true, Hypervisor: "kvm"}
	emulation := vm.LauncherOptions{AllowEmulation: true, Hypervisor: "kvm"}
	mshv := vm.LauncherOptions{Device: true, Hypervisor: "hyperv-direct"}
	foreign := vm.LauncherOptions{Device: true, Hypervisor: "kvm", AllowCrossArchitecture: true}
	hyperv := source.Finding{Type: "unknown", DomainType: "hyperv"}
	tests := map[string]struct {
		options      vm.LauncherOptions
		architecture string
		node         *corev1.Node
		measured     source.Finding
		want         Verdict
		expected     string
	}{
		"kvm":                                {device, "amd64", node("amd64", "1k"), source.Finding{Type: "kvm"}, Hardware, "kvm"},
		"kvm, node not measured":             {device, "amd64", nil, source.Finding{Type: "kvm"}, Hardware, "kvm"},
		"emulation allowed, KVM there":       {emulation, "", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, EmulationAllowed, "qemu-tcg"},
		"emulation allowed, no KVM":          {emulation, "", node("amd64", "0"), source.Finding{Type: "qemu-tcg"}, NoDevice, "qemu-tcg"},
		"emulation allowed, not measured":    {emulation, "", nil, source.Finding{}, EmulationAllowed, "qemu-tcg"},
		"another architecture, emulated":     {foreign, "arm64", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, CrossArchitecture, ""},
		"another architecture, KVM":          {foreign, "arm64", node("s390x", "1k"), source.Finding{Type: "kvm"}, CrossArchitectureHardware, ""},
		"another architecture, not measured": {foreign, "arm64", node("s390x", "1k"), source.Finding{}, CrossArchitectureOpen, ""},
		"another architecture, not heard":    {foreign, "arm64", node("s390x", "1k"), source.Finding{Type: "unknown"}, NotHeard, ""},
		"hyperv-direct":                      {mshv, "", node("amd64", "0"), hyperv, HypervDirect, "hyperv-direct"},
		"hyperv-direct, not measured":        {mshv, "", node("amd64", "0"), source.Finding{}, HypervDirect, "hyperv-direct"},
		"hyperv-direct, not heard":           {mshv, "", node("amd64", "0"), source.Finding{Type: "unknown"}, NotHeard, "hyperv-direct"},
		"hyperv-direct, kvm":                 {mshv, "", node("amd64", "0"), source.Finding{Type: "kvm", DomainType: "kvm"}, Contradiction, "hyperv-direct"},
		"hyperv-direct, falls back":          {vm.LauncherOptions{AllowEmulation: true, Hypervisor: "hyperv-direct"}, "", nil, source.Finding{Type: "qemu-tcg"}, EmulationAllowed, "qemu-tcg"},
		"hyperv without the device":          {device, "", nil, hyperv, Contradiction, "kvm"},
		"a hypervisor of the future":         {vm.LauncherOptions{Device: true, Hypervisor: "acrn"}, "", nil, source.Finding{Type: "unknown", DomainType: "acrn"}, OtherHypervisor, "unknown"},
		"libvirt not heard":                  {device, "", node("amd64", "1k"), source.Finding{Type: "unknown"}, NotHeard, "kvm"},
		"device, and yet emulated":           {device, "", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, Contradiction, "kvm"},
		"device, emulated, hook sidecar":     {vm.LauncherOptions{Device: true, Hooks: true}, "", nil, source.Finding{Type: "qemu-tcg"}, Rewritten, "kvm"},
		"nothing known":                      {vm.LauncherOptions{}, "", nil, source.Finding{}, Contradiction, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := running(test.options)
			in.VMI.Architecture, in.Node = test.architecture, test.node
			want := test.measured.Type
			if test.measured.Type != "" {
				in.Finding = &test.measured
			}
			if test.want == HypervDirect && want != "" {
				want = "hyperv-direct"
			}
			got := Explain(in)
			require.Equal(t, test.want, got.Verdict)
			require.NotEmpty(t, got.Sentence)
			require.Equal(t, test.expected, got.Expected)
			require.Equal(t, want, got.Type, "a type that was not measured is not shown")
			require.Equal(t, test.measured.Type == "" && test.expected != "", strings.Contains(got.Sentence, "Not measured"))
			require.NotRegexp(t, `DEVICE|NAME|POD`, got.Sentence+got.Advice)
		})
	}
}

func running(options vm.LauncherOptions) Input {
	in := Input{}
	in.VMI = vm.VMI{Namespace: "shop", Name: "web", Phase: vm.Running}
	in.Launcher = &vm.Launcher{Namespace: "shop", Name: "virt-launcher-web-x", Options: options}
	return in
}

// KubeVirt's conditions show how it executes a guest of another architecture, without the right to read nodes.
func TestConditions(t *testing.T) {
	in := running(vm.LauncherOptions{Device: true, Hypervisor: "kvm", AllowCrossArchitecture: true})
	in.VMI.SoftwareEmulation = true
	in.Finding = &source.Finding{Type: "qemu-tcg"}
	got := Explain(in)
	require.Equal(t, CrossArchitecture, got.Verdict)
	require.Equal(t, "qemu-tcg", got.Expected)
	in.Finding.Type = "kvm"
	require.Equal(t, Contradiction, Explain(in).Verdict)

	in.VMI.SoftwareEmulation, in.VMI.HardwareEmulation = false, true
	got = Explain(in)
	require.Equal(t, CrossArchitectureHardware, got.Verdict)
	require.Equal(t, "kvm", got.Expected)
	require.Contains(t, got.Facts[0].Value, "condition HardwareEmulation")
}

// Without a pod that is surely the VM's, nothing is expected, and the sentence says why.
func TestWithoutItsPod(t *testing.T) {
	pending := func(in *Input) { in.VMI.Phase, in.Launcher = "Pending", nil }
	waiting := func(in *Input) {
		in.VMI.Phase, in.VMI.Unschedulable = "Scheduling", "0/3 nodes are available: 3 Insufficient devices.kubevirt.io/kvm."
	}
	tests := map[string]struct {
		change                    func(*Input)
		verdict, sentence, advice string
	}{
		"not running": {func(in *Input) { in.VMI.Phase = "Scheduling" }, "not_running",
			"The VMI does not run (phase Scheduling), so it has no hypervisor.", "its events say why: kubectl describe vmi web -n shop"},
		"no phase yet": {func(in *Input) { in.VMI.Phase = "" }, "not_running",
			"The VMI does not run (phase unknown), so it has no hypervisor.", "its events say why: kubectl describe vmi web -n shop"},
		"no node takes it": {waiting, "unschedulable",
			"The VMI does not run, because no node can take its pod: 0/3 nodes are available: 3 Insufficient devices.kubevirt.io/kvm.",
			"kubectl describe vmi web -n shop; if nodes lack devices.kubevirt.io/kvm, enable virtualization on a node, or drop what the VM requests"},
		"pods refused": {pending, "pods_refused",
			"The VMI does not start, because the API server refuses its pods: a quota of POD and NAME.",
			`let what refuses the pods admit them; to start without the sidecar, set the annotation hypervisor-exporter.kubevirt.io/inject: "false" in the VM's template`},
		"no pod": {func(in *Input) { in.Launcher = nil }, "no_pod",
			"The VMI has no pod on its node.", "its events say why: kubectl describe vmi web -n shop"},
		"several pods": {func(in *Input) { in.Launcher.Rivals = []string{"by-hand"} }, "ambiguous_pod",
			"Several pods on the VMI's node name it as their controller; KubeVirt runs only one of them, and nothing shows which one.",
			"delete those that KubeVirt did not create: kubectl get pods -n shop -l kubevirt.io=virt-launcher -o wide"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := running(vm.LauncherOptions{Device: true})
			test.change(&in)
			in.Cause = vm.Diagnose(in.VMI, in.Launcher, vm.EnabledYes)
			if name == "pods refused" {
				in.Cause = in.Cause.Explained(in.VMI, nil, vm.Refusal{By: "a quota of POD and NAME", At: time.Unix(1, 0)}, time.Unix(2, 0))
			}
			got := Explain(in)
			require.Equal(t, []string{test.verdict, test.sentence, test.advice}, []string{string(got.Verdict), got.Sentence, got.Advice})
			require.Empty(t, got.Expected)
			require.Empty(t, headline(got))
			if name == "several pods" {
				require.Contains(t, got.Facts[2].Value, "or instead by-hand")
			}
		})
	}
}

// The advice does not repeat what is fixed already.
func TestEmulationIsOffNow(t *testing.T) {
	in := running(vm.LauncherOptions{AllowEmulation: true})
	in.VMI.Owner.Kind = "VirtualMachine"
	in.Node, in.Finding, in.KubeVirt = node("amd64", "1k"), &source.Finding{Type: "qemu-tcg"}, &cluster.KubeVirt{UseEmulation: true}
	const both, off = "set useEmulation to false in the KubeVirt object, then virtctl restart web -n shop", "useEmulation is off now, so a new pod gets the device: virtctl restart web -n shop"
	require.Equal(t, both, Explain(in).Advice)
	in.KubeVirt.UseEmulation = false
	require.Equal(t, off, Explain(in).Advice)
	in.KubeVirt = nil // not read
	require.Equal(t, both, Explain(in).Advice)
}
