package exposition

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// Every metric is multiplied by the number of VMs in a cluster: a new one needs a
// better reason than that it might be of use.
var (
	hypervisorInfo = newMetric(prometheus.GaugeValue, "kubevirt_vmi_hypervisor_info",
		"The hypervisor that the VMI runs on: kvm, qemu-tcg (software emulation) or unknown. Present exactly while the VMI runs; the value is always 1.",
		"namespace", "name", "node", "hypervisor_type")
	domainInfo = newMetric(prometheus.GaugeValue, "kubevirt_vmi_hypervisor_domain_info",
		"The VMI's libvirt domain as libvirt describes it. Present while the VMI runs and libvirt answers; the value is always 1.",
		"namespace", "name", "node", "domain_type", "arch", "machine", "hypervisor_version", "libvirt_version",
		"host_arch", "cpu_model", "hyperv", "launch_security", "memory", "disks", "nics")
	stateInfo = newMetric(prometheus.GaugeValue, "kubevirt_vmi_hypervisor_state_info",
		"libvirt's state of the VMI's domain, and its reason for it. Present while there is a domain and libvirt answers, on both sides of a migration too; the value is always 1.",
		"namespace", "name", "node", "state", "reason")
	controlState = newMetric(prometheus.GaugeValue, "kubevirt_vmi_hypervisor_control_state_seconds",
		"How long QEMU's monitor had been in its state when libvirt was asked last, once a minute: ok (idle; always 0), job (a job runs, such as a migration), occupied (a command waits for QEMU's answer) or error. Present while the VMI runs and libvirt answers.",
		"namespace", "name", "node", "control_state")
	libvirtUp = newMetric(prometheus.GaugeValue, "hypervisor_exporter_libvirt_up",
		"Whether libvirt answers (1) or not (0): there is a connection, and the last answer is not older than --libvirt-grace.")
	libvirtConnects = newMetric(prometheus.CounterValue, "hypervisor_exporter_libvirt_connects_total",
		"Connections to libvirt that were opened.")
	detectionError = newMetric(prometheus.GaugeValue, "hypervisor_exporter_detection_error",
		"Why the type is not known now; absent while it is, and while no VMI runs: identity (the environment names no namespace, VMI and node that could exist), libvirt (no connection, or no answer), no_match (no domain is surely the VMI's), xml (not parsable), no_type (none in the XML), too_large (the XML does not fit into the sidecar's memory). The value is always 1.",
		"error")
	restarts = newMetric(prometheus.CounterValue, "hypervisor_exporter_restarts_total",
		"How often the exporter was restarted within its container, after it died. Restarts of the container itself are not counted: each sets it to 0. Absent without a supervisor.")
	lastChange = newMetric(prometheus.GaugeValue, "hypervisor_exporter_last_change_timestamp_seconds",
		"When the VMI last began or ceased to run here or its type changed, in seconds since 1970; at first, when the exporter started.")
)

// Metrics lists the sidecar's own metrics, in the order of the docs.
func Metrics() []Metric {
	return []Metric{hypervisorInfo, domainInfo, stateInfo, controlState, libvirtUp, libvirtConnects, detectionError, restarts, lastChange}
}

// A Metric is a descriptor together with its text in the docs.
type Metric struct {
	Name   string
	Help   string
	Labels []string
	Type   prometheus.ValueType

	desc *prometheus.Desc
}

func newMetric(kind prometheus.ValueType, name, help string, labels ...string) Metric {
	return Metric{Name: name, Help: help, Labels: labels, Type: kind, desc: prometheus.NewDesc(name, help, labels, nil)}
}

func (m Metric) send(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.Type, value, labels...)
}

// Source returns the newest snapshot, and when libvirt last answered. It never waits.
type Source interface {
	Snapshot() *hypervisor.Snapshot
	HeardAt() time.Time
}

// A moment is all that a page depends on.
type moment struct {
	snapshot *hypervisor.Snapshot
	view     hypervisor.View
}

// momentOf reads the source; the snapshot is at least as new as the answer it is aged by.
func momentOf(source Source, now time.Time) moment {
	heard := source.HeardAt()
	snapshot := source.Snapshot()
	return moment{snapshot, snapshot.At(now, heard)}
}

// collector turns the newest snapshot into metrics.
type collector struct {
	source   Source
	now      func() time.Time
	restarts int // less than 0: unknown
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, metric := range Metrics() {
		ch <- metric.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m := momentOf(c.source, c.now())
	snapshot, view := m.snapshot, m.view
	if snapshot.Identity.Valid() {
		collectVMI(ch, snapshot, view)
	}
	libvirtUp.send(ch, number(view.Up))
	libvirtConnects.send(ch, float64(snapshot.Connects))
	if reason, found := snapshot.Problem(view); found {
		detectionError.send(ch, 1, reason.String())
	}
	if c.restarts >= 0 {
		restarts.send(ch, float64(c.restarts))
	}
	lastChange.send(ch, float64(view.ChangedAt.UnixMilli())/1000)
}

func collectVMI(ch chan<- prometheus.Metric, s *hypervisor.Snapshot, view hypervisor.View) {
	send := func(m Metric, value float64, labels ...string) {
		m.send(ch, value, append([]string{s.Identity.Namespace, s.Identity.Name, s.Identity.Node}, labels...)...)
	}
	if view.Domain {
		state, reason := s.State.Words()
		send(stateInfo, 1, state, reason)
	}
	if !view.Present {
		return
	}
	send(hypervisorInfo, 1, view.Type.String())
	if view.Details {
		d := s.Detection
		send(domainInfo, 1, d.DomainType, d.Arch, d.Machine, s.Versions.Hypervisor, s.Versions.Libvirt,
			hostArch(runtime.GOARCH), d.Facts.CPUModel, d.Facts.Hyperv, d.Facts.LaunchSecurity, d.Facts.Memory, d.Facts.Disks, d.Facts.NICs)
	}
	if view.Domain && s.Control != nil {
		send(controlState, s.Control.Lasted.Seconds(), s.Control.State.String())
	}
}

// hostArch returns libvirt's name for the architecture that this program was built for, which is the node's.
func hostArch(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	default: // s390x
		return goarch
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
