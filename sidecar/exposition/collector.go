package exposition

import (
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
		"namespace", "name", "node", "domain_type", "arch", "machine", "hypervisor_version", "libvirt_version")
	libvirtUp = newMetric(prometheus.GaugeValue, "hypervisor_exporter_libvirt_up",
		"Whether libvirt answers (1) or not (0): there is a connection, and the last answer is not older than --libvirt-grace.")
	libvirtConnects = newMetric(prometheus.CounterValue, "hypervisor_exporter_libvirt_connects_total",
		"Connections to libvirt that were opened.")
	detections = newMetric(prometheus.CounterValue, "hypervisor_exporter_detections_total",
		"How often the type of a running domain was read from its XML: when the domain appears, and again after a start, a resume, a migration or a new connection to libvirt.")
	detectionErrors = newMetric(prometheus.CounterValue, "hypervisor_exporter_detection_errors_total",
		"Why the type could not be read: xml (not parsable), no_type (none in the XML), no_match (no domain is surely the VMI's), libvirt (no connection, a call that failed, or no answer), too_large (the XML does not fit into the sidecar's memory).",
		"reason")
	identityValid = newMetric(prometheus.GaugeValue, "hypervisor_exporter_identity_valid",
		"Whether the environment names a namespace, VMI and node that could exist (1) or not (0); without them no VMI is shown.")
	restarts = newMetric(prometheus.CounterValue, "hypervisor_exporter_restarts_total",
		"How often the exporter was restarted within its container, after it died. Restarts of the container itself are not counted: each sets it to 0. Absent without a supervisor.")
	lastChange = newMetric(prometheus.GaugeValue, "hypervisor_exporter_last_change_timestamp_seconds",
		"When the VMI last began or ceased to run here or its type changed, in seconds since 1970; at first, when the exporter started.")
)

// Metrics lists the sidecar's own metrics, in the order of the docs.
func Metrics() []Metric {
	return []Metric{hypervisorInfo, domainInfo, libvirtUp, libvirtConnects, detections, detectionErrors, identityValid, restarts, lastChange}
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
	if snapshot.Identity.Valid() && view.Present {
		collectVMI(ch, snapshot, view)
	}
	libvirtUp.send(ch, number(view.Up))
	libvirtConnects.send(ch, float64(snapshot.Connects))
	detections.send(ch, float64(snapshot.Detections))
	for reason, count := range snapshot.Errors {
		detectionErrors.send(ch, float64(count), hypervisor.ErrorReason(reason).String())
	}
	identityValid.send(ch, number(snapshot.Identity.Valid()))
	if c.restarts >= 0 {
		restarts.send(ch, float64(c.restarts))
	}
	lastChange.send(ch, float64(view.ChangedAt.UnixMilli())/1000)
}

func collectVMI(ch chan<- prometheus.Metric, s *hypervisor.Snapshot, view hypervisor.View) {
	id := s.Identity
	hypervisorInfo.send(ch, 1, id.Namespace, id.Name, id.Node, view.Type.String())
	if view.Details {
		domainInfo.send(ch, 1, id.Namespace, id.Name, id.Node,
			s.Detection.DomainType, s.Detection.Arch, s.Detection.Machine, s.Versions.Hypervisor, s.Versions.Libvirt)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
