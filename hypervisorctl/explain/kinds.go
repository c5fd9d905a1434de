package explain

import (
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/internal/contract"
)

// kind is a problem that VMs can have. The words in capitals are vm.VMI.Advice's, and those of details.
type kind struct {
	name     string
	severity Severity
	// is reports whether a VM has it. What is not known is no problem.
	is                     func(Input) bool
	sentence, cost, change string
}

const (
	virsh = "kubectl exec POD -n NAMESPACE -c compute -- virsh -c 'qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock' "
	// standsStill is the cost of what pauses a VM.
	standsStill   = "the VM executes nothing, although the VMI's phase is Running"
	emulationCost = "the guest's " + contract.EmulationCost
)

// kinds lists the problems of a VM that runs, from worst to least. Several with one name differ in their texts. An empty
// sentence is that of the verdict on the VM's type.
func kinds() []kind {
	return []kind{
		{"paused_by_error", Stopped, paused("ioerror"), "A disk returned an error, and QEMU paused the VM (ioerror).", standsStill,
			"repair or enlarge the volume; KubeVirt then resumes the VM. Which disk: " + virsh + "domblkerror NAMESPACE_NAME"},
		{"paused_by_error", Stopped, paused("watchdog"), "The guest's watchdog expired, and QEMU paused the VM (watchdog).", standsStill,
			"read the guest's console (virtctl console NAME -n NAMESPACE), then RESTART"},
		{"paused_by_error", Stopped, paused("crashed"), "The guest reported that it crashed, and QEMU paused the VM (crashed).", standsStill,
			"read the guest's console (virtctl console NAME -n NAMESPACE), then RESTART"},
		{"paused_by_error", Stopped, paused("api_error"), "libvirt could not go on with an operation, and paused the VM (api_error).", standsStill,
			"read its log (kubectl logs POD -n NAMESPACE -c compute), then RESTART"},
		{"paused_by_user", Stopped, paused("user"), "Someone paused the VM (user).", standsStill, "virtctl unpause vmi NAME -n NAMESPACE"},
		{"monitor_stuck", Stuck, controlled("occupied", stuckAfter), "QEMU has not answered a command on its monitor for SECONDS.",
			"KubeVirt can neither stop nor migrate the VM, and the guest may hang, too", monitorChange},
		{"monitor_stuck", Stuck, controlled("error", -1), "libvirt's connection to QEMU's monitor failed.",
			"KubeVirt can neither stop nor migrate the VM, and the guest may hang, too", monitorChange},
		{"emulated_other_architecture", Slow, because(CrossArchitecture), "",
			"for a guest of the node's architecture, " + contract.EmulationCost + "; for others it was not measured", ""},
		{"emulated_by_setting", Slow, because(EmulationAllowed, NoDevice), "", emulationCost, ""},
		{"emulated_by_accident", Slow, byAccident, "", emulationCost, ""},
		{"emulated", Slow, unexplained, "QEMU executes the guest in software. It is not known why.", emulationCost,
			"get the right to read nodes, then kubectl hypervisor explain NAME -n NAMESPACE"},
		{"no_hardware_paging", Slow, onKVM(func(in Input) bool { return in.Finding.Node.HardwarePaging == "off" }),
			"The node's KVM has no hardware-assisted paging (Intel EPT, AMD NPT).",
			"EPT gained up to 48 % in benchmarks that use much memory management (VMware, Performance Evaluation of Intel EPT Hardware Assist, 2009)",
			"load kvm_intel with ept=1 or kvm_amd with npt=1 on node NODE; if the node is a VM, its host has to offer it"},
		{"node_is_vm", Improvable, onKVM(nodeIsVM), "The VM's node is itself a VM (VIRTUALIZATION), so two hypervisors handle each exit of the guest.",
			"10 % or more for CPU-bound work, possibly more for I/O-bound work (Google Cloud, About nested virtualization)",
			"run the VM on a node that is not a VM: spec.template.spec.nodeSelector, then RESTART"},
		{"windows_without_enlightenments", Improvable, onKVM(bareWindows), "The guest is Windows, and the Hyper-V enlightenments for it are HYPERV.",
			"Windows uses interfaces of hardware that are slow in software, in place of KVM's own (QEMU, Hyper-V Enlightenments); no number is known",
			"set the features that docs/runbooks/VirtualMachineWithoutEnlightenments.md lists, then RESTART"},
		{"emulated_disk", Improvable, found(func(f source.Finding) bool { return f.Disks == "emulated" }), "A disk is on an emulated controller (SATA, IDE, USB), not on virtio.",
			"virtio is designed to be efficient, and QEMU recommends it (QEMU, VirtIO Devices); no number is known",
			"set bus: virtio on each disk of spec.template.spec.domain.devices.disks, then RESTART (Windows needs the virtio drivers first)"},
		{"emulated_nic", Improvable, found(func(f source.Finding) bool { return f.NICs == "emulated" }), "A network interface is an emulated card (e1000, rtl8139), not virtio.",
			"virtio is designed to be efficient, and QEMU recommends it (QEMU, VirtIO Devices); no number is known",
			"set model: virtio on each interface of spec.template.spec.domain.devices.interfaces, then RESTART (Windows needs the virtio drivers first)"},
		{"old_cpu_model", Improvable, onKVM(model("qemu32", "qemu64")), "The guest sees the CPU model MODEL.",
			"it has only what all hosts have, and leaves the guest vulnerable to flaws of CPUs (QEMU, CPU models); no number is known", modelChange},
		{"old_cpu_model", Improvable, onKVM(model("kvm32", "kvm64", "486", "athlon", "phenom", "coreduo", "core2duo", "n270", "pentium", "pentium2", "pentium3")),
			"The guest sees the CPU model MODEL.", "its very limited features prevent the best performance (QEMU, CPU models); no number is known", modelChange},
		{"outdated_launcher", Improvable, func(in Input) bool { return in.VMI.Outdated }, "Its virt-launcher image, with QEMU and libvirt, is not the one of the installed KubeVirt.",
			"the VM runs without what the installed one fixes", "NEWPOD"},
	}
}

const (
	// stuckAfter is the alert VirtualMachineMonitorStuck's, in seconds.
	stuckAfter    = 300
	monitorChange = "repair what QEMU waits for, storage most often (docs/runbooks/VirtualMachineMonitorStuck.md); " +
		"otherwise KILL: what the guest has not written is lost"
	modelChange = "remove spec.template.spec.domain.cpu.model, so that KubeVirt uses its default (host-model, unless cpuModel is set), then RESTART"
)

// paused reports whether a VM is paused for the reason: libvirt's or, if that is not known, KubeVirt's.
func paused(reason string) func(Input) bool {
	byKubeVirt := map[string]string{"ioerror": "PausedIOError", "user": "PausedByUser"}[reason]
	return func(in Input) bool {
		if in.Finding != nil && in.Finding.DomainState != "" {
			return in.Finding.DomainState == "paused" && in.Finding.StateReason == reason
		}
		return byKubeVirt != "" && in.VMI.Paused == byKubeVirt
	}
}

// controlled reports whether QEMU's monitor has been in a state for more than so many seconds.
func controlled(state string, after int) func(Input) bool {
	return found(func(f source.Finding) bool { return f.ControlState == state && f.ControlSeconds > after })
}

// because reports whether QEMU executes the guest in software for one of the reasons.
func because(reasons ...Verdict) func(Input) bool {
	return func(in Input) bool {
		if in.Finding == nil || in.Finding.Type != tcg {
			return false
		}
		_, verdict := judged(in)
		return slices.Contains(reasons, verdict)
	}
}

func byAccident(in Input) bool {
	return because(Rewritten)(in) || because(Contradiction)(in) && architecturesKnown(in)
}

func unexplained(in Input) bool { return because(Contradiction)(in) && !architecturesKnown(in) }

// architecturesKnown reports whether a guest of another architecture than its node's would have been noticed.
func architecturesKnown(in Input) bool {
	return !in.Launcher.Options.AllowCrossArchitecture || in.Node != nil || in.Finding.HostArch != ""
}

func found(is func(source.Finding) bool) func(Input) bool {
	return func(in Input) bool { return in.Finding != nil && is(*in.Finding) }
}

func onKVM(is func(Input) bool) func(Input) bool {
	return func(in Input) bool { return in.Finding != nil && in.Finding.Type == kvm && is(in) }
}

// model reports whether the guest sees one of the CPU models. qemu-cpu-models(7) of QEMU discourages those of the list.
func model(names ...string) func(Input) bool {
	return func(in Input) bool { return slices.Contains(names, in.Finding.CPUModel) }
}

func nodeIsVM(in Input) bool {
	return !slices.Contains([]string{"", "none", unknown}, in.Finding.Node.Virtualization)
}

// bareWindows: the guest's agent names the system.
func bareWindows(in Input) bool {
	return strings.HasPrefix(in.VMI.GuestOS, "Microsoft Windows") && (in.Finding.Hyperv == "none" || in.Finding.Hyperv == "partial")
}
