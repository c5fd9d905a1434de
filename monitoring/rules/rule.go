package rules

import "time"

// Severity is how soon someone should act: the value of the label severity.
type Severity string

const (
	// Info is for when there is time.
	Info Severity = "info"
	// Warning is for the next working day: the VMs run as before, or one of them is slow.
	Warning Severity = "warning"
	// Critical is for now, day or night: many VMs are slow, or each VM that starts until someone acts is harmed.
	Critical Severity = "critical"
)

// An Alert fires for each series that Expr gives.
type Alert struct {
	Name     string
	Expr     string
	For      time.Duration // how long Expr gives a series before the alert fires; 0 is at once
	Severity Severity
	// Summary is one line without variables; Description names what is affected.
	Summary     string
	Description string
	// Why explains the expression, as a comment in the generated rules.
	Why string

	// Labels are those beside severity. Annotations are all. Settings fill both.
	Labels, Annotations map[string]string
}

// Recording is a series computed from others.
type Recording struct {
	Name string
	Expr string
	// Meaning is for docs/alerts.md.
	Meaning string
	Why     string
}

// Group is evaluated in sequence: first its recordings, then its alerts.
type Group struct {
	Name       string
	Interval   time.Duration // 0 is Prometheus's own
	Recordings []Recording
	Alerts     []Alert
}

// Component is a part of the product that an installation may lack. Each has its own PrometheusRule, which an overlay
// without the component leaves out.
type Component struct {
	Name      string // the value of the label app.kubernetes.io/component
	Object    string // the PrometheusRule's name
	Namespace string // the PrometheusRule's namespace; empty is the one it is applied to
	Groups    []Group
}

const (
	productNamespace = "hypervisor-exporter"
	relayNamespace   = "hypervisor-exporter-relay"
)

// Components lists all rules with the default settings, in the order of the generated files.
func Components() []Component { return Settings{}.Components() }

// components lists all rules before any setting.
func components() []Component {
	watched := []Group{vms(), nodes(), ofFleet(), webhook(), certs(), relay()}
	return []Component{
		{Name: "sidecar", Object: "hypervisor-exporter-vms", Namespace: productNamespace, Groups: []Group{vms(), nodes(), ofFleet(), evaluation(watched...)}},
		{Name: "webhook", Object: "hypervisor-exporter-webhook", Namespace: productNamespace, Groups: []Group{webhook()}},
		{Name: "certs", Object: "hypervisor-exporter-certs", Namespace: productNamespace, Groups: []Group{certs()}},
		{Name: "relay", Object: "hypervisor-exporter-relay", Namespace: relayNamespace, Groups: []Group{relay()}},
	}
}

// Alerts lists the alerts of all components, and those that need none.
func Alerts() []Alert {
	var all []Alert
	for _, group := range Groups() {
		all = append(all, group.Alerts...)
	}
	return all
}

// Recordings lists the recording rules of all components.
func Recordings() []Recording {
	var all []Recording
	for _, group := range Groups() {
		all = append(all, group.Recordings...)
	}
	return all
}

// Groups lists the groups of all components, and those that need none.
func Groups() []Group { return groupsOf(append(Components(), WithoutExporter())) }

func groupsOf(components []Component) []Group {
	var all []Group
	for _, component := range components {
		all = append(all, component.Groups...)
	}
	return all
}
