package rules

import (
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// CrossArchitecture is the recorded series of the VMs that can only be emulated where they are.
const CrossArchitecture = "vmi:kubevirt_vmi_hypervisor_domain_info:cross_architecture"

// hosts are the architectures of nodes, each with those of the guests that its KVM may be able to run.
var hosts = []struct{ arch, guests string }{{"x86_64", "x86_64|i686"}, {"aarch64", "aarch64|armv7l"}, {"s390x", "s390x"}}

// crossArchitecture is intended: KubeVirt starts such a guest only if its owner named the architecture and the feature gate
// CrossArchitectureVirtualization is on (KubeVirt 1.9, converter/kvm). Of several pages of one VM on one node all must say so:
// the page of a pod made by hand does not hide what the VM's own page shows.
func crossArchitecture() Recording {
	var foreign []string
	for _, host := range hosts {
		foreign = append(foreign, domain(`domain_type="qemu",host_arch="`+host.arch+`",arch!~"`+host.guests+`|"`))
	}
	return Recording{
		Name: CrossArchitecture,
		Expr: `min by (cluster, namespace, name, node) (
  ` + strings.Join(append(foreign, domain(`domain_type="qemu"`)+` * 0`), "\n  or\n  ") + `
) == 1`,
		Meaning: "1 for each emulated VM whose architecture is not its node's, so that it cannot be on KVM there. Absent for all others, and for VMs with an exporter of an older version, which does not show the node's.",
	}
}

func otherArchitecture() Alert {
	return Alert{
		Name:        "VirtualMachinesOfAnotherArchitecture",
		Expr:        `count by (cluster) (` + recorded(CrossArchitecture, "") + `)`,
		For:         30 * time.Minute,
		Severity:    Info,
		Summary:     "VMs are emulated because their architecture is not their nodes'.",
		Description: `VMs run on nodes of another architecture than their own, where they can only be emulated: {{ $value }} of them. For a guest of the node's architecture, ` + contract.EmulationCost + `; for others it was not measured.`,
		Why:         "One alert for all such VMs, because someone intended each of them: KubeVirt starts them only with the feature gate CrossArchitectureVirtualization.",
	}
}
