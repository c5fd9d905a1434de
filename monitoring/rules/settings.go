package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Settings are what an installation may change about the rules. Their zero value is the rules of the manifests.
type Settings struct {
	// ClusterLabel is the name of the label that tells clusters apart; empty if there is none.
	ClusterLabel *string `yaml:"clusterLabel"`
	// DocsURL replaces Docs.
	DocsURL string `yaml:"docsURL"`
	// Labels and Annotations are given to each alert. An empty value takes a label away.
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
	// Alerts are settings of single alerts, by name.
	Alerts map[string]AlertSettings `yaml:"alerts"`

	// Namespace and RelayNamespace replace the namespaces of the PrometheusRules.
	Namespace      string `yaml:"-"`
	RelayNamespace string `yaml:"-"`
}

// AlertSettings are what an installation may change about one alert.
type AlertSettings struct {
	Severity Severity        `yaml:"severity"`
	For      *model.Duration `yaml:"for"`
	Disabled bool            `yaml:"disabled"`
}

// kubevirtLabels are those of KubeVirt's own alerts. OpenShift's console lists the alerts that are part of kubevirt. The
// operator of OpenShift Virtualization (HCO) computes its health from the impact of these: none of our alerts is about it.
func kubevirtLabels() map[string]string {
	return map[string]string{
		"kubernetes_operator_part_of":   "kubevirt",
		"kubernetes_operator_component": "kubevirt-hypervisor-exporter",
		"operator_health_impact":        "none",
	}
}

// ownLabels are those by which expressions match and aggregate, and those that Prometheus sets. As a label of all alerts they
// would make two alerts one, which fails the rule.
var ownLabels = []string{
	"alertname", "alertstate", "severity", "cluster", "namespace", "name", "node", "pod", "vmi_pod", "hypervisor_type", "domain_type", "arch",
	"hypervisor_version", "virtualization", "hyperv", "reason", "group", "rule_group", "serves", "certificate", "job", "instance",
}

var (
	labelName    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	severityName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}$`)
)

// ReadSettings reads a YAML file. A field or an alert that does not exist is an error.
func ReadSettings(content []byte) (Settings, error) {
	var s Settings
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil && !errors.Is(err, io.EOF) { // an empty file sets nothing
		return Settings{}, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return Settings{}, errors.New("more than one YAML document")
	}
	return s, s.check()
}

func (s Settings) check() error {
	for _, name := range slices.Sorted(maps.Keys(s.Alerts)) {
		if !slices.ContainsFunc(Alerts(), func(a Alert) bool { return a.Name == name }) {
			return fmt.Errorf("alerts: there is no alert %q", name)
		}
		if severity := s.Alerts[name].Severity; severity != "" && !severityName.MatchString(string(severity)) {
			return fmt.Errorf("alerts: %s: severity %q: must match %s", name, severity, severityName)
		}
	}
	if name := s.clusterLabel(); name != "cluster" && name != "" {
		if err := checkLabel(name); err != nil {
			return fmt.Errorf("clusterLabel: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if err := checkLabel(name); err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		if name == s.clusterLabel() {
			return fmt.Errorf("labels: %q is the label of clusters", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Annotations)) {
		if !labelName.MatchString(name) || slices.Contains([]string{"summary", "description", "runbook_url"}, name) {
			return fmt.Errorf("annotations: %q is not a name, or is an annotation of the alerts themselves", name)
		}
	}
	if s.DocsURL != "" {
		address, err := url.Parse(s.DocsURL)
		if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
			return fmt.Errorf("docsURL: %q is not an http or https URL", s.DocsURL)
		}
	}
	return nil
}

func checkLabel(name string) error {
	if !labelName.MatchString(name) || strings.HasPrefix(name, "__") {
		return fmt.Errorf("%q is not a name of a label", name)
	}
	if slices.Contains(ownLabels, name) {
		return fmt.Errorf("%q is a label of the rules themselves", name)
	}
	return nil
}

func (s Settings) clusterLabel() string {
	if s.ClusterLabel == nil {
		return "cluster"
	}
	return *s.ClusterLabel
}

// Components lists the rules with the settings. A component without rules is left out.
func (s Settings) Components() []Component {
	var all []Component
	for _, component := range components() {
		switch {
		case component.Namespace == productNamespace && s.Namespace != "":
			component.Namespace = s.Namespace
		case component.Namespace == relayNamespace && s.RelayNamespace != "":
			component.Namespace = s.RelayNamespace
		}
		if component.Groups = s.groups(component.Groups); len(component.Groups) > 0 {
			all = append(all, component)
		}
	}
	return all
}

// OfNamespace returns the rules about VMs, for a Prometheus that sees the series of one namespace alone. The others would
// find their series missing there, and HypervisorExporterWebhookDown would fire.
func (s Settings) OfNamespace(namespace string) Component {
	component := components()[0]
	component.Namespace, component.Groups = namespace, s.groups(component.Groups)
	return component
}

// WithoutExporter is WithoutExporter with the settings.
func (s Settings) WithoutExporter() Component {
	component := withoutExporter()
	component.Groups = s.groups(component.Groups)
	return component
}

// groups applies the settings. A group without rules is left out.
func (s Settings) groups(groups []Group) []Group {
	var all []Group
	for _, group := range groups {
		if group = s.group(group); len(group.Recordings)+len(group.Alerts) > 0 {
			all = append(all, group)
		}
	}
	return all
}

func (s Settings) group(group Group) Group {
	for i := range group.Recordings {
		group.Recordings[i].Expr = s.widened(group.Recordings[i].Expr)
	}
	group.Alerts = slices.DeleteFunc(group.Alerts, func(a Alert) bool { return s.Alerts[a.Name].Disabled })
	for i := range group.Alerts {
		s.alert(&group.Alerts[i])
	}
	return group
}

func (s Settings) alert(a *Alert) {
	a.Expr = s.widened(a.Expr)
	own := s.Alerts[a.Name]
	if own.Severity != "" {
		a.Severity = own.Severity
	}
	if own.For != nil {
		a.For = time.Duration(*own.For)
	}
	a.Labels = kubevirtLabels()
	maps.Copy(a.Labels, s.Labels)
	maps.DeleteFunc(a.Labels, func(_, value string) bool { return value == "" })
	a.Annotations = map[string]string{"runbook_url": RunbookURL(a.Name)}
	if s.DocsURL != "" {
		a.Annotations["runbook_url"] = strings.Replace(a.Annotations["runbook_url"], Docs, strings.TrimRight(s.DocsURL, "/"), 1)
	}
	maps.Copy(a.Annotations, s.Annotations)
}

// widened returns the expression with the name of the label that tells clusters apart. In the source it is the first of each
// by and on.
func (s Settings) widened(expr string) string {
	name := s.clusterLabel()
	if name == "" {
		return strings.NewReplacer("by (cluster, ", "by (", "on (cluster, ", "on (", "by (cluster)", "by ()", "on (cluster)", "on ()").Replace(expr)
	}
	return strings.NewReplacer("by (cluster", "by ("+name, "on (cluster", "on ("+name).Replace(expr)
}
