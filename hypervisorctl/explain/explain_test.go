package explain

import (
	"testing"

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
	tests := map[string]struct {
		options      vm.LauncherOptions
		architecture string
		node         *corev1.Node
		seen         source.Finding
		want         Verdict
		expected     string
	}{
		"kvm":                            {device, "amd64", node("amd64", "1k"), source.Finding{Type: "kvm"}, Hardware, "kvm"},
		"kvm, node not seen":             {device, "amd64", nil, source.Finding{Type: "kvm"}, Hardware, "kvm"},
		"emulation allowed, KVM there":   {emulation, "", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, EmulationAllowed, "qemu-tcg"},
		"emulation allowed, no KVM":      {emulation, "", node("amd64", "0"), source.Finding{Type: "qemu-tcg"}, NoDevice, "qemu-tcg"},
		"emulation allowed, not seen":    {emulation, "", nil, source.Finding{}, EmulationAllowed, "qemu-tcg"},
		"another architecture":           {device, "arm64", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, CrossArchitecture, "qemu-tcg"},
		"hyperv":                         {vm.LauncherOptions{Device: true, Hypervisor: "hyperv-direct"}, "", node("amd64", "0"), source.Finding{Type: "unknown", DomainType: "hyperv"}, OtherHypervisor, "unknown"},
		"hyperv, falls back":             {vm.LauncherOptions{AllowEmulation: true, Hypervisor: "hyperv-direct"}, "", nil, source.Finding{Type: "qemu-tcg"}, EmulationAllowed, "qemu-tcg"},
		"libvirt not heard":              {device, "", node("amd64", "1k"), source.Finding{Type: "unknown"}, NotHeard, "kvm"},
		"device, and yet emulated":       {device, "", node("amd64", "1k"), source.Finding{Type: "qemu-tcg"}, Contradiction, "kvm"},
		"device, emulated, hook sidecar": {vm.LauncherOptions{Device: true, Hooks: true}, "", nil, source.Finding{Type: "qemu-tcg"}, Rewritten, "kvm"},
		"nothing known":                  {vm.LauncherOptions{}, "", nil, source.Finding{}, Contradiction, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{
				VMI:      vm.VMI{Namespace: "shop", Name: "web", Phase: vm.Running, Architecture: test.architecture},
				Launcher: &vm.Launcher{Options: test.options}, Node: test.node,
			}
			if test.seen.Type != "" {
				in.Finding = &test.seen
			}
			got := Explain(in)
			require.Equal(t, test.want, got.Verdict)
			require.Equal(t, test.expected, got.Expected)
			require.Equal(t, test.seen.Type, got.Type, "what was not seen is not shown")
			if test.seen.Type == "" {
				require.Contains(t, got.Sentence, "Nobody saw it")
			}
		})
	}
}

// What was mended already is not asked for again.
func TestEmulationIsOffByNow(t *testing.T) {
	in := Input{
		VMI:      vm.VMI{Namespace: "shop", Name: "web", Phase: vm.Running},
		Launcher: &vm.Launcher{Options: vm.LauncherOptions{AllowEmulation: true}}, Node: node("amd64", "1k"),
		Finding: &source.Finding{Type: "qemu-tcg"}, KubeVirt: &cluster.KubeVirt{UseEmulation: true},
	}
	require.Contains(t, Explain(in).Advice, "Set useEmulation to false in the KubeVirt object, then restart the VM: virtctl restart web -n shop.")
	in.KubeVirt.UseEmulation = false
	require.Contains(t, Explain(in).Advice, "useEmulation is off by now: the VM gets the device when it is restarted: virtctl restart web -n shop.")
	in.KubeVirt = nil // not seen
	require.Contains(t, Explain(in).Advice, "Set useEmulation to false in the KubeVirt object, then restart the VM: virtctl restart web -n shop.")
}

func TestEveryVerdictSpeaks(t *testing.T) {
	for v := NotRunning; v <= NotHeard; v++ {
		require.NotContains(t, v.String(), "verdict_")
		require.NotEqual(t, v.String(), v.Sentence())
	}
	require.Equal(t, "verdict_99", Verdict(99).String())
}
