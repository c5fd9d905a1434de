package source

import (
	"fmt"
	"regexp"
	"sync"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// Finding is what a sidecar reports about its VMI. Type is never empty; everything else is empty if libvirt did not report
// it, or if the sidecar is of a release that does not show it. Its texts are those that a genuine page can have.
type Finding struct {
	// Type is kvm, qemu-tcg or unknown.
	Type string `json:"type,omitempty"`
	// DomainType is libvirt's, such as qemu.
	DomainType string `json:"domainType,omitempty"`
	// Arch is the guest's architecture as libvirt writes it, such as x86_64, and HostArch the node's.
	Arch              string `json:"architecture,omitempty"`
	HostArch          string `json:"hostArchitecture,omitempty"`
	Machine           string `json:"machine,omitempty"`
	HypervisorVersion string `json:"hypervisorVersion,omitempty"`
	LibvirtVersion    string `json:"libvirtVersion,omitempty"`
	// The domain's facts, in the words of docs/metrics.md.
	CPUModel       string `json:"cpuModel,omitempty"`
	Hyperv         string `json:"hyperv,omitempty"`
	LaunchSecurity string `json:"launchSecurity,omitempty"`
	Memory         string `json:"memory,omitempty"`
	Disks          string `json:"disks,omitempty"`
	NICs           string `json:"nics,omitempty"`
	// DomainState and StateReason are libvirt's, such as paused and ioerror.
	DomainState string `json:"state,omitempty"`
	StateReason string `json:"stateReason,omitempty"`
	// ControlState is ok, job, occupied or error, and ControlSeconds how long QEMU's monitor has been in it.
	ControlState   string `json:"controlState,omitempty"`
	ControlSeconds int    `json:"controlSeconds,omitempty"`
	// Node is what the relay of the VM's node reports.
	Node `json:",inline"`
}

// Node is what a node can do, as its relay sees it. What is not known is empty.
type Node struct {
	// Virtualization is what the node is a VM of, such as kvm; none if it is not a VM, unknown if that is not decided.
	Virtualization string `json:"nodeVirtualization,omitempty"`
	// HardwarePaging and Nested are on or off.
	HardwarePaging string `json:"nodeHardwarePaging,omitempty"`
	Nested         string `json:"nodeNested,omitempty"`
}

// The metrics that are read.
const (
	infoMetric    = "kubevirt_vmi_hypervisor_info"
	domainMetric  = "kubevirt_vmi_hypervisor_domain_info"
	stateMetric   = "kubevirt_vmi_hypervisor_state_info"
	controlMetric = "kubevirt_vmi_hypervisor_control_state_seconds"
	nodeMetric    = "kubevirt_node_virtualization_info"
)

// vmMetrics are those of a VM's page. Sidecars of earlier releases have only the first two.
func vmMetrics() []string { return []string{infoMetric, domainMetric, stateMetric, controlMetric} }

type labels map[string]string

// series is one series of a page or of Prometheus.
type series struct {
	labels labels
	value  float64
}

// longestControl is how many seconds in one state are believed: ten years.
const longestControl = 10 * 366 * 24 * 3600

// finding puts together a VM's series, by metric; only infoMetric's must be there.
func finding(found map[string]*series) (Finding, error) {
	info, domain := believed(infoMetric, found[infoMetric]), believed(domainMetric, found[domainMetric])
	if info["hypervisor_type"] == "" {
		return Finding{}, fmt.Errorf("the sidecar's page has the hypervisor_type %q, which this release does not know",
			printable(found[infoMetric].labels["hypervisor_type"]))
	}
	f := Finding{
		Type: info["hypervisor_type"], DomainType: domain["domain_type"], Arch: domain["arch"], HostArch: domain["host_arch"],
		Machine: domain["machine"], HypervisorVersion: domain["hypervisor_version"], LibvirtVersion: domain["libvirt_version"],
		CPUModel: domain["cpu_model"], Hyperv: domain["hyperv"], LaunchSecurity: domain["launch_security"],
		Memory: domain["memory"], Disks: domain["disks"], NICs: domain["nics"],
	}
	if state := believed(stateMetric, found[stateMetric]); state["state"] != "" && state["reason"] != "" {
		f.DomainState, f.StateReason = state["state"], state["reason"]
	}
	control := believed(controlMetric, found[controlMetric])
	if control["control_state"] == "" {
		return f, nil
	}
	if seconds := found[controlMetric].value; seconds >= 0 && seconds <= longestControl { // neither NaN nor without end
		f.ControlState, f.ControlSeconds = control["control_state"], int(seconds)
	}
	return f, nil
}

// believed returns the labels of a series that have a value which a sidecar can write; the others are left out.
func believed(metric string, of *series) labels {
	if of == nil {
		return nil
	}
	genuine := labels{}
	for name, pattern := range patterns()[metric] {
		if value := of.labels[name]; pattern.MatchString(value) {
			genuine[name] = value
		}
	}
	return genuine
}

// patterns match the values of each label of each metric, whole.
var patterns = sync.OnceValue(func() map[string]map[string]*regexp.Regexp {
	all := map[string]map[string]*regexp.Regexp{}
	for _, shape := range exposition.Shapes() {
		all[shape.Metric] = map[string]*regexp.Regexp{}
		for _, label := range shape.Labels {
			all[shape.Metric][label.Name] = regexp.MustCompile("^(?:" + label.Pattern + ")$")
		}
	}
	return all
})

// nodeOf returns what the relay reports about its node; nil is not known.
func nodeOf(found *series) Node {
	if found == nil {
		return Node{}
	}
	return Node{
		Virtualization: printable(found.labels["virtualization"]),
		HardwarePaging: printable(found.labels["hardware_paging"]),
		Nested:         printable(found.labels["nested"]),
	}
}
