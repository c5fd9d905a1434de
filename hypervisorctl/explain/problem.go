package explain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Severity is what a problem does to a VM.
type Severity string

// The severities, from worst to least.
const (
	// Stopped: the VM executes nothing.
	Stopped Severity = "stopped"
	// Stuck: the VM cannot be controlled, and may execute nothing.
	Stuck Severity = "stuck"
	// Slow: the VM executes, several times slower than it could.
	Slow Severity = "slow"
	// Improvable: the VM could do better.
	Improvable Severity = "improvable"
)

// Problem is something that stops a VM or makes it slow.
type Problem struct {
	// Name is one of a fixed set, in snake case.
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Sentence is what it is, Cost what it costs and from where that is known, Change what to do.
	Sentence string `json:"sentence"`
	Cost     string `json:"cost,omitempty"`
	Change   string `json:"change,omitempty"`
}

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
	standsStill = "the VM executes nothing, although the VMI's phase is Running"
	// emulationCost was measured: docs/why-slow.md.
	emulationCost = "the guest's CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md)"
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
			"for a guest of the node's architecture, CPU work takes 3 to 26 times as long as natively (measured: docs/why-slow.md); for others it was not measured", ""},
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
			"run the VM on a node that is not a VM: spec.template.spec.nodeSelector, then NEWPOD"},
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

// Problems returns a VM's problems, from worst to least. Without Node and KubeVirt object, texts have less detail.
func Problems(in Input) []Problem {
	if why := in.Cause.Why; why == vm.PodsRefused || why == vm.Unschedulable {
		return []Problem{{Name: why.String(), Severity: Stopped, Sentence: capital(in.Cause.Sentence()) + ".", Cost: "the VM does not run", Change: advice(in.Cause.Hint(), in)}}
	}
	if in.VMI.Phase != vm.Running {
		return nil
	}
	var problems []Problem
	for _, one := range kinds() {
		if !one.is(in) {
			continue
		}
		if one.sentence == "" {
			_, because := judged(in)
			text := textOf(because, in)
			one.sentence, one.change = text.Sentence, text.Advice
		}
		problems = append(problems, Problem{one.name, one.severity, details(advice(one.sentence, in), in), one.cost, details(advice(one.change, in), in)})
	}
	return problems
}

// details puts what was found in place of a text's words. It is called last: nothing in a found value is replaced.
func details(text string, in Input) string {
	f := source.Finding{}
	if in.Finding != nil {
		f = *in.Finding
	}
	return strings.NewReplacer("SECONDS", (time.Duration(f.ControlSeconds) * time.Second).String(), "VIRTUALIZATION", f.Node.Virtualization,
		"MODEL", f.CPUModel, "HYPERV", f.Hyperv, "NODE", in.VMI.Node).Replace(text)
}

// paused reports whether a VM is paused for the reason: libvirt's or, if that is not known, KubeVirt's.
func paused(reason string) func(Input) bool {
	byKubeVirt := map[string]string{"ioerror": "PausedIOError", "user": "PausedByUser"}[reason]
	return func(in Input) bool {
		if in.Finding != nil && in.Finding.State != "" {
			return in.Finding.State == "paused" && in.Finding.StateReason == reason
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

// notKnown lists what could hide a problem, because the VM's sidecar or its node's relay does not report it.
func notKnown(in Input) []string {
	if in.Finding == nil {
		return nil
	}
	var list []string
	for _, one := range []struct {
		missing bool
		what    string
	}{
		{in.Finding.State == "", "libvirt's state"},
		{in.Finding.ControlState == "", "QEMU's monitor"},
		{in.Finding.Hyperv == "", "CPU, disks and interfaces"},
		{slices.Contains([]string{"", unknown}, in.Finding.Node.Virtualization), "whether the node is a VM"},
		{in.VMI.GuestOS == "", "the guest's system (no guest agent)"},
	} {
		if one.missing {
			list = append(list, one.what)
		}
	}
	return list
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// Names are those of the problems.
func Names(problems []Problem) []string {
	var names []string
	for _, one := range problems {
		names = append(names, one.Name)
	}
	return names
}

// Result is the worst that is known about a VM: a severity, or one of the three below.
type Result string

// The results of a VM without a problem.
const (
	NoProblem  Result = "no_problem"
	NotRunning Result = "not_running"
	// NotKnown: no sidecar reports about it.
	NotKnown Result = "not_known"
)

func resultOf(in Input, e *Explanation) Result {
	switch {
	case len(e.Problems) > 0:
		return Result(e.Problems[0].Severity)
	case in.VMI.Phase != vm.Running:
		return NotRunning
	case in.Finding == nil || e.Verdict == NotHeard:
		return NotKnown
	default:
		return NoProblem
	}
}

// words are the result as a headline.
func (r Result) words() string {
	return cmp.Or(map[Result]string{
		Result(Stopped): "stands still", Result(Stuck): "stuck", Result(Slow): "slow", Result(Improvable): "runs, and could do better",
		NoProblem: "no problem found", NotRunning: "does not run",
	}[r], "not known")
}
