package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// lasting gives the VMs that are of that type now, were so before the duration, and
// were of no type of resets since. It holds no state but what is recorded, so that a
// migration (another node label), a restart of Prometheus or a gap of up to an hour
// does not restart the clock, as it would with `for`.
func lasting(kind, resets string, duration time.Duration) string {
	same := recorded(Newest, fmt.Sprintf(`hypervisor_type=%q`, kind))
	return fmt.Sprintf(`%[1]s
and on (cluster, namespace, name)
  present_over_time(%[1]s[1h] offset %[3]s)
unless on (cluster, namespace, name)
  present_over_time(%[2]s[%[3]s])`, same, recorded(Newest, resets), promDuration(duration))
}

// emulated gives the VMs that are emulated, but those for which that is intended.
func emulated() string {
	return lasting("qemu-tcg", `hypervisor_type="kvm"`, emulationLasts) + `
unless on (cluster, namespace, name, node)
  ` + recorded(CrossArchitecture, "")
}

const whyNoFor = "No `for`: a migration changes the label node and would restart it. The alert uses the last ten minutes and the hour before them."

func onEmulation() Alert {
	return Alert{
		Name:        "VirtualMachineOnSoftwareEmulation",
		Expr:        emulated(),
		Severity:    Warning,
		Summary:     "A VM runs on software emulation.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} has run on software emulation (QEMU TCG), not on KVM, for more than 10 minutes. The guest's ` + contract.EmulationCost + `.`,
		Why:         whyNoFor + " VirtualMachinesOfAnotherArchitecture counts the guests that can only be emulated on their nodes.",
	}
}

// besideKVM believes a neighbour on KVM only where its page shows no other domain type: one that
// does contradicts itself, as no genuine page does.
func besideKVM() Alert {
	return Alert{
		Name: "VirtualMachineOnSoftwareEmulationBesideKVM",
		Expr: emulated() + `
and on (cluster, namespace, name, node) (
  ` + domain(`domain_type="qemu"`) + `
  and on (cluster, node, arch) (
    ` + domain("") + `
    unless on (cluster, namespace, pod)
      ` + domain(`domain_type!="kvm"`) + `
    and on (cluster, namespace, name, node)
      ` + recorded(Newest, `hypervisor_type="kvm"`) + `
  )
)`,
		Severity:    Warning,
		Summary:     "A VM runs on software emulation although its node has KVM.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} has run on software emulation for more than 10 minutes on node {{ $labels.node }}, where other VMs of the same architecture run on KVM. The VM, or its access to the node's KVM device, is misconfigured.`,
		Why:         "The architecture must be the same: a guest of an architecture other than its node's can only be emulated. Exporters of older versions do not show the node's.",
	}
}

func nodeTurned() Alert {
	return Alert{
		Name: "NodeTurnedToSoftwareEmulation",
		Expr: `count by (cluster, node) (
  ` + recorded(Newest, `hypervisor_type="qemu-tcg"`) + `
  and on (cluster, namespace, name)
  present_over_time(` + recorded(Newest, `hypervisor_type="kvm"`) + `[1d:30m])
) >= 2`,
		Severity:    Critical,
		Summary:     "VMs that ran on KVM now run on software emulation on one node.",
		Description: `On node {{ $labels.node }}, {{ $value }} VMs run on software emulation that ran on KVM within the last day. The node most likely lost KVM when it was last booted or upgraded.`,
		Why:         "A type cannot change while a guest runs: these VMs were restarted. The alert compares VMs, so it needs no metric of the node and ignores guests that are always emulated.",
	}
}

func unknown() Alert {
	return Alert{
		Name: "VirtualMachineHypervisorUnknown",
		Expr: lasting("unknown", `hypervisor_type!="unknown"`, unknownLasts) + `
unless on (cluster, namespace, name, node)
  ` + domainBut("kvm", "qemu"),
		Severity:    Warning,
		Summary:     "A VM's hypervisor type has been unknown for 15 minutes.",
		Description: `The hypervisor type of VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} has been unknown for more than 15 minutes: its libvirt does not answer, or its domain cannot be read.`,
		Why:         "Silent if the domain's type is known. VirtualMachineDomainTypeOther reports types that KubeVirt does not write.",
	}
}

// domainBut selects the domains whose type is known and not one of these. The types are listed, since the label becomes one of
// an alert: a page could write anything there.
func domainBut(kinds ...string) string {
	others := slices.DeleteFunc(exposition.DomainTypes(), func(kind string) bool { return slices.Contains(kinds, kind) })
	return domain(`domain_type=~"` + strings.Join(others, "|") + `"`)
}

// otherDomainType is silent about hyperv: KubeVirt writes that type only if its configuration names the hypervisor
// hyperv-direct and the pod has the device mshv, which QEMU needs for it (KubeVirt 1.9, converter/mshv). Without the device,
// the type is qemu.
func otherDomainType() Alert {
	return Alert{
		Name: "VirtualMachineDomainTypeOther",
		Expr: `group by (cluster, namespace, name, node, domain_type) (
  ` + domainBut("kvm", "qemu", "hyperv") + `
)`,
		For:         10 * time.Minute,
		Severity:    Info,
		Summary:     "A VM's libvirt domain is of a type that KubeVirt does not write.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} has a libvirt domain of type {{ $labels.domain_type }}. The exporter does not know whether that is emulation and shows the VM as unknown.`,
		Why:         "KubeVirt writes kvm, qemu and, if it was configured to use Microsoft's hypervisor, hyperv.",
	}
}
