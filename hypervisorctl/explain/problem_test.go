package explain

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// page is a sidecar's page of a VM without a problem; labels change it, and an empty one is left out.
type page struct {
	labels map[string]string
	// control is how long the monitor has been in its state.
	control string
	// earlier: the sidecar shows only what those of 0.1 do.
	earlier bool
}

func (p page) text() string {
	labels := map[string]string{
		"hypervisor_type": "kvm", "domain_type": "kvm", "arch": "x86_64", "host_arch": "x86_64", "machine": "pc-q35-9.2", "cpu_model": "Skylake-Server",
		"hypervisor_version": "9.2.0", "libvirt_version": "11.0.0", "hyperv": "none", "launch_security": "none", "memory": "normal", "disks": "virtio",
		"nics": "virtio", "state": "running", "reason": "booted", "control_state": "ok",
	}
	maps.Copy(labels, p.labels)
	of := func(names ...string) string {
		text := `namespace="shop",name="web"`
		for _, name := range names {
			text += fmt.Sprintf(",%s=%q", name, labels[name])
		}
		return text
	}
	domain := []string{"domain_type", "arch", "machine", "hypervisor_version", "libvirt_version"}
	text := fmt.Sprintf("kubevirt_vmi_hypervisor_info{%s} 1\n", of("hypervisor_type"))
	if p.earlier {
		return text + fmt.Sprintf("kubevirt_vmi_hypervisor_domain_info{%s} 1\n", of(domain...))
	}
	domain = append(domain, "host_arch", "cpu_model", "hyperv", "launch_security", "memory", "disks", "nics")
	return text + fmt.Sprintf("kubevirt_vmi_hypervisor_domain_info{%s} 1\n", of(domain...)) +
		fmt.Sprintf("kubevirt_vmi_hypervisor_state_info{%s} 1\n", of("state", "reason")) +
		fmt.Sprintf("# TYPE kubevirt_vmi_hypervisor_control_state_seconds gauge\nkubevirt_vmi_hypervisor_control_state_seconds{%s} %s\n",
			of("control_state"), max(p.control, "0"))
}

// with returns the explanation's input for a page.
func (p page) with(t *testing.T, change func(*Input)) Input {
	t.Helper()
	in := running(vm.LauncherOptions{Device: true, Hypervisor: "kvm"})
	in.VMI.Owner, in.VMI.Migratable, in.VMI.Node = vm.Owner{Kind: "VirtualMachine", Name: "web"}, vm.MigratableYes, "node-1"
	finding, err := source.Parse([]byte(p.text()), in.VMI.Key())
	require.NoError(t, err)
	finding.Node = source.Node{Virtualization: "none", HardwarePaging: "on", Nested: "off"}
	in.Finding, in.Source = &finding, "relay"
	if change != nil {
		change(&in)
	}
	return in
}

func of(pairs ...string) map[string]string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func TestProblems(t *testing.T) {
	windows := func(in *Input) { in.VMI.GuestOS = "Microsoft Windows Server 2022" }
	node := func(virtualization, paging string) func(*Input) {
		return func(in *Input) {
			in.Finding.Node.Virtualization, in.Finding.Node.HardwarePaging = virtualization, paging
		}
	}
	emulated := of("hypervisor_type", "qemu-tcg", "domain_type", "qemu")
	allowed := func(in *Input) { in.Launcher.Options = vm.LauncherOptions{AllowEmulation: true} }
	foreign := func(in *Input) { in.Launcher.Options.AllowCrossArchitecture, in.VMI.Architecture = true, "arm64" }
	tests := map[string]struct {
		page   page
		change func(*Input)
		want   []string
		// sentence and changed are parts of the first problem's texts.
		sentence, changed string
	}{
		"none":                 {},
		"an earlier sidecar":   {page: page{earlier: true}, change: node("", "")},
		"everything not known": {page: page{labels: of("hypervisor_type", "unknown", "hyperv", "", "disks", "", "nics", "", "cpu_model", "", "host_arch", "", "arch", "")}, change: node("unknown", "")},
		"paused by its disk": {page: page{labels: of("state", "paused", "reason", "ioerror")}, want: []string{"paused_by_error"},
			sentence: "A disk returned an error", changed: "virsh -c 'qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock' domblkerror shop_web"},
		"paused by its watchdog": {page: page{labels: of("state", "paused", "reason", "watchdog")}, want: []string{"paused_by_error"}, sentence: "watchdog", changed: "then virtctl restart web -n shop"},
		"paused by a crash":      {page: page{labels: of("state", "paused", "reason", "crashed")}, want: []string{"paused_by_error"}, sentence: "crashed", changed: "virtctl console web -n shop"},
		"paused by libvirt":      {page: page{labels: of("state", "paused", "reason", "api_error")}, want: []string{"paused_by_error"}, sentence: "libvirt", changed: "kubectl logs virt-launcher-web-x -n shop -c compute"},
		"paused by someone":      {page: page{labels: of("state", "paused", "reason", "user")}, want: []string{"paused_by_user"}, changed: "virtctl unpause vmi web -n shop"},
		"migrates":               {page: page{labels: of("state", "paused", "reason", "migration")}},
		"a crash without pause":  {page: page{labels: of("state", "running", "reason", "crashed")}},
		"paused, by KubeVirt": {change: func(in *Input) { in.VMI.Paused, in.Finding = "PausedIOError", nil },
			want: []string{"paused_by_error"}, sentence: "A disk returned an error"},
		"KubeVirt has not noticed that it goes on": {change: func(in *Input) { in.VMI.Paused = "PausedIOError" }},
		"QEMU does not answer": {page: page{labels: of("control_state", "occupied"), control: "372.5"}, want: []string{"monitor_stuck"}, sentence: "for 6m12s",
			changed: "virtctl stop web -n shop --force --grace-period=0, then virtctl start web -n shop"},
		"QEMU answers late":                 {page: page{labels: of("control_state", "occupied"), control: "300"}},
		"a long job":                        {page: page{labels: of("control_state", "job"), control: "4000"}},
		"the monitor failed":                {page: page{labels: of("control_state", "error")}, want: []string{"monitor_stuck"}, sentence: "connection"},
		"paused and stuck":                  {page: page{labels: of("control_state", "error", "state", "paused", "reason", "ioerror")}, want: []string{"paused_by_error", "monitor_stuck"}},
		"emulated by a setting":             {page: page{labels: emulated}, change: allowed, want: []string{"emulated_by_setting"}, sentence: "useEmulation", changed: "then virtctl restart web -n shop"},
		"emulated, from an earlier sidecar": {page: page{labels: emulated, earlier: true}, change: allowed, want: []string{"emulated_by_setting"}},
		"emulated by accident":              {page: page{labels: emulated}, want: []string{"emulated_by_accident"}, changed: "virsh"},
		"emulated by a hook": {page: page{labels: emulated}, change: func(in *Input) { in.Launcher.Options.Hooks = true },
			want: []string{"emulated_by_accident"}, sentence: "hook sidecar"},
		"emulated for another architecture": {page: page{labels: of("hypervisor_type", "qemu-tcg", "domain_type", "qemu", "arch", "aarch64")},
			change: foreign, want: []string{"emulated_other_architecture"}, sentence: "architecture is not the node's"},
		"the same, by its condition": {page: page{labels: emulated, earlier: true},
			change: func(in *Input) { in.VMI.SoftwareEmulation = true }, want: []string{"emulated_other_architecture"}},
		"emulated, perhaps for another architecture": {page: page{labels: emulated, earlier: true}, change: foreign, want: []string{"emulated"},
			sentence: "not known why", changed: "kubectl hypervisor explain web -n shop"},
		"no hardware paging":        {change: node("none", "off"), want: []string{"no_hardware_paging"}, changed: "on node node-1"},
		"a node that is a VM":       {change: node("hyperv", "on"), want: []string{"node_is_vm"}, sentence: "(hyperv)", changed: "virtctl restart web -n shop"},
		"such a node, but emulated": {page: page{labels: emulated}, change: node("kvm", "off"), want: []string{"emulated_by_accident"}},
		"Windows":                   {change: windows, want: []string{"windows_without_enlightenments"}, sentence: "are none"},
		"Windows, some":             {page: page{labels: of("hyperv", "partial")}, change: windows, want: []string{"windows_without_enlightenments"}, sentence: "are partial"},
		"Windows, all":              {page: page{labels: of("hyperv", "full")}, change: windows},
		"Windows, as the node has":  {page: page{labels: of("hyperv", "passthrough")}, change: windows},
		"Windows, not known":        {page: page{earlier: true}, change: windows},
		"Windows, emulated":         {page: page{labels: emulated}, change: windows, want: []string{"emulated_by_accident"}},
		"Linux":                     {change: func(in *Input) { in.VMI.GuestOS = "Fedora Linux" }},
		"an emulated disk":          {page: page{labels: of("disks", "emulated")}, want: []string{"emulated_disk"}, changed: "bus: virtio"},
		"an emulated card":          {page: page{labels: of("nics", "emulated")}, want: []string{"emulated_nic"}, changed: "model: virtio"},
		"a card passed through":     {page: page{labels: of("nics", "passthrough")}},
		"an old model":              {page: page{labels: of("cpu_model", "qemu64")}, want: []string{"old_cpu_model"}, sentence: "qemu64"},
		"a legacy model":            {page: page{labels: of("cpu_model", "kvm64")}, want: []string{"old_cpu_model"}, sentence: "kvm64"},
		"host-model":                {page: page{labels: of("cpu_model", "host-model")}},
		"an old model, emulated":    {page: page{labels: of("hypervisor_type", "qemu-tcg", "cpu_model", "qemu64")}, want: []string{"emulated_by_accident"}},
		"an earlier launcher":       {change: func(in *Input) { in.VMI.Outdated = true }, want: []string{"outdated_launcher"}, changed: "virtctl migrate web -n shop"},
		"several": {page: page{labels: of("nics", "emulated", "disks", "emulated", "cpu_model", "kvm64")}, change: func(in *Input) { windows(in); node("vmware", "off")(in); in.VMI.Outdated = true },
			want: []string{"no_hardware_paging", "node_is_vm", "windows_without_enlightenments", "emulated_disk", "emulated_nic", "old_cpu_model", "outdated_launcher"}},
		"does not run": {page: page{labels: emulated}, change: func(in *Input) { in.VMI.Phase = "Succeeded" }},
		"no node takes it": {change: func(in *Input) {
			in.Cause = vm.Cause{Why: vm.Unschedulable, Detail: "no KVM"}
			in.VMI.Phase, in.Finding = "Scheduling", nil
		}, want: []string{"unschedulable"}, sentence: "no KVM"},
		"pods refused": {change: func(in *Input) {
			in.Cause = vm.Cause{Why: vm.PodsRefused, Detail: "a quota"}
			in.VMI.Phase, in.Finding = "Pending", nil
		}, want: []string{"pods_refused"}, sentence: "a quota"},
	}
	shown := map[string]bool{}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := test.page.with(t, test.change)
			got := Problems(in)
			require.Equal(t, test.want, Names(got))
			for _, one := range got {
				shown[one.Name] = true
				require.NotEmpty(t, one.Sentence)
				require.NotEmpty(t, one.Cost)
				require.NotEmpty(t, one.Change)
				require.NotRegexp(t, "NAME|POD|DEVICE|RESTART|KILL|SECONDS|MODEL|VIRTUALIZATION|HYPERV|NODE", one.Sentence+one.Cost+one.Change)
			}
			if len(got) > 0 {
				require.Contains(t, got[0].Sentence, test.sentence)
				require.Contains(t, got[0].Change, test.changed)
			}
			explanation := Explain(in)
			require.Equal(t, len(got) == 0, !slices.Contains([]string{"stopped", "stuck", "slow", "improvable"}, string(explanation.Result)))
			var text bytes.Buffer
			require.NoError(t, Print(terminal.NewWriter(&text), explanation))
			require.LessOrEqual(t, strings.Count(text.String(), "\n"), 50, "one screen")
		})
	}
	for _, one := range kinds() {
		require.True(t, shown[one.name], "no test has %s", one.name)
	}
}

// The order is that of the severities, and a problem's texts name what it costs.
func TestKindsAreInOrder(t *testing.T) {
	order := []Severity{Stopped, Stuck, Slow, Improvable}
	last := 0
	for _, one := range kinds() {
		at := slices.Index(order, one.severity)
		require.GreaterOrEqual(t, at, last, one.name)
		require.Regexp(t, "^[a-z_]+$", one.name)
		last = at
	}
}

// The command and the alerts mean the same.
func TestProblemsAreTheAlerts(t *testing.T) {
	for _, reason := range strings.Split(rules.PausedByErrors, "|") {
		in := page{labels: of("state", "paused", "reason", reason)}.with(t, nil)
		require.Equal(t, []string{"paused_by_error"}, Names(Problems(in)), reason)
	}
	stuck := slices.IndexFunc(rules.Alerts(), func(a rules.Alert) bool { return a.Name == "VirtualMachineMonitorStuck" })
	require.Regexp(t, fmt.Sprintf(`control_state="occupied".*\n? *> %d\n`, stuckAfter), rules.Alerts()[stuck].Expr)
}

// What is not known is said, and is not "no problem" if nothing is known.
func TestNotKnown(t *testing.T) {
	last := func(e *Explanation) Fact { return e.Facts[len(e.Facts)-1] }
	all := Explain(page{}.with(t, func(in *Input) { in.VMI.GuestOS = "Fedora Linux" }))
	require.Equal(t, NoProblem, all.Result)
	require.NotEqual(t, "not known", last(all).Name)
	earlier := Explain(page{earlier: true}.with(t, func(in *Input) { in.Finding.Node = source.Node{} }))
	require.Equal(t, NoProblem, earlier.Result)
	require.Equal(t, Fact{"not known", "libvirt's state, QEMU's monitor, CPU, disks and interfaces, whether the node is a VM, the guest's system (no guest agent)"}, last(earlier))
	without := Explain(page{}.with(t, func(in *Input) { in.Finding = nil }))
	require.Equal(t, NotKnown, without.Result)
	lost := Explain(page{}.with(t, func(in *Input) { in.Finding = &source.Finding{Type: "unknown"} }))
	require.Equal(t, NotKnown, lost.Result)
}
