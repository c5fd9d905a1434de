package rules

import "time"

// PausedByErrors matches the reasons for which libvirt pauses a domain by itself: its disk failed, its watchdog expired, its guest
// crashed, or libvirt could not go on. The VMI's phase stays Running; for
// ioerror alone KubeVirt sets a condition (virt-handler, vm.go: PausedIOError).
const PausedByErrors = "ioerror|watchdog|crashed|api_error"

func pausedByError() Alert {
	return Alert{
		Name: "VirtualMachinePausedByError",
		Expr: `group by (cluster, namespace, name, node, reason) (
  ` + selector("kubevirt_vmi_hypervisor_state_info", `job="`+VMsJob+`"`, `state="paused",reason=~"`+PausedByErrors+`"`) + `
)`,
		For:         time.Minute,
		Severity:    Warning,
		Summary:     "A VM has stopped executing, and is not back by itself.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} has been paused by QEMU for more than a minute (reason {{ $labels.reason }}). It executes nothing, although the VMI's phase is Running.`,
		Why:         "A user's pause, a migration or a snapshot has other reasons.",
	}
}

func monitorStuck() Alert {
	control := func(state string) string {
		return selector("kubevirt_vmi_hypervisor_control_state_seconds", `job="`+VMsJob+`"`, `control_state="`+state+`"`)
	}
	return Alert{
		Name: "VirtualMachineMonitorStuck",
		Expr: `group by (cluster, namespace, name, node) (
  ` + control("occupied") + ` > 300
  or
  ` + control("error") + `
)`,
		For:         2 * time.Minute,
		Severity:    Warning,
		Summary:     "A VM's QEMU does not answer libvirt.",
		Description: `The QEMU of VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} has not answered a command of libvirt for more than 5 minutes, or their connection has failed. KubeVirt can neither stop nor migrate the VM; the guest may hang, too.`,
		Why:         "The value is libvirt's own clock, so one command that takes long is not mistaken for many short ones.",
	}
}

func enlightenmentsMissing() Alert {
	return Alert{
		Name: "VirtualMachineWithoutEnlightenments",
		Expr: `group by (cluster, namespace, name, node, hyperv) (
  ` + domain(`domain_type="kvm",hyperv=~"none|partial"`) + `
  and on (cluster, namespace, name)
    kubevirt_vmi_info{` + NotVMs + `,phase="running",guest_os_name=~"Microsoft Windows.*"}
)`,
		For:         30 * time.Minute,
		Severity:    Info,
		Summary:     "A VM runs Windows without all enlightenments for it.",
		Description: `VM {{ $labels.namespace }}/{{ $labels.name }} on node {{ $labels.node }} runs Windows, by its guest agent, and lacks Hyper-V enlightenments that KubeVirt's preferences for Windows switch on (hyperv is {{ $labels.hyperv }}). It uses more CPU than it has to.`,
		Why:         "Silent without a guest agent in the VM, and if KubeVirt's metrics are not scraped.",
	}
}
