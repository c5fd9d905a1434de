package rules

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, content string) Settings {
	t.Helper()
	settings, err := ReadSettings([]byte(content))
	require.NoError(t, err, content)
	return settings
}

func alertsOf(components []Component) map[string]Alert {
	all := map[string]Alert{}
	for _, group := range groupsOf(components) {
		for _, one := range group.Alerts {
			all[one.Name] = one
		}
	}
	return all
}

func TestSettings(t *testing.T) {
	const name = "HypervisorExporterRelayDown"
	before := alertsOf(Components())[name]
	for content, want := range map[string]func(a *Alert){
		"":                                func(*Alert) {},
		"# nothing\n":                     func(*Alert) {},
		"docsURL: https://a.example":      func(a *Alert) { a.Annotations["runbook_url"] = "https://a.example/runbooks/" + name + ".md" },
		"docsURL: http://a.example/docs/": func(a *Alert) { a.Annotations["runbook_url"] = "http://a.example/docs/runbooks/" + name + ".md" },
		"labels: {team: virt}":            func(a *Alert) { a.Labels["team"] = "virt" },
		"labels: {operator_health_impact: warning}":                     func(a *Alert) { a.Labels["operator_health_impact"] = "warning" },
		"labels: {operator_health_impact: ''}":                          func(a *Alert) { delete(a.Labels, "operator_health_impact") },
		"annotations: {dashboard_url: https://g.example}":               func(a *Alert) { a.Annotations["dashboard_url"] = "https://g.example" },
		"alerts: {HypervisorExporterRelayDown: {severity: page}}":       func(a *Alert) { a.Severity = "page" },
		"alerts: {HypervisorExporterRelayDown: {for: 1h30m}}":           func(a *Alert) { a.For = 90 * time.Minute },
		"alerts: {HypervisorExporterRelayDown: {for: 0s}}":              func(a *Alert) { a.For = 0 },
		"alerts: {HypervisorExporterTargetDown: {severity: page}}":      func(*Alert) {},
		"alerts: {VirtualMachineOnSoftwareEmulation: {disabled: true}}": func(*Alert) {},
		"clusterLabel: region": func(a *Alert) {
			a.Expr = strings.ReplaceAll(a.Expr, "cluster", "region")
		},
		"clusterLabel: ''": func(a *Alert) {
			a.Expr = strings.NewReplacer("(cluster, ", "(", "(cluster)", "()").Replace(a.Expr)
		},
	} {
		wanted := alertsOf(Components())[name]
		want(&wanted)
		require.Equal(t, wanted, alertsOf(read(t, content).Components())[name], content)
	}
	require.Equal(t, before, alertsOf(Components())[name], "the settings of one call are not those of the next")
}

func TestDisabledAlertsAreGone(t *testing.T) {
	settings := read(t, "alerts: {HypervisorExporterRelayDown: {disabled: true}, NodeTurnedToSoftwareEmulation: {disabled: true}}")
	content, err := PrometheusRules(settings.Components())
	require.NoError(t, err)
	require.NotContains(t, string(content), "alert: HypervisorExporterRelayDown")
	require.NotContains(t, string(content), "name: hypervisor-exporter-nodes\n", "a group without rules")
	require.NotContains(t, string(content), "component: relay", "an object without groups")
	require.Contains(t, string(content), "record: "+Newest)
}

func TestNamespaces(t *testing.T) {
	got := map[string]string{}
	for _, component := range (Settings{Namespace: "a", RelayNamespace: "b"}).Components() {
		got[component.Name] = component.Namespace
	}
	require.Equal(t, map[string]string{"sidecar": "a", "webhook": "a", "certs": "a", "relay": "b"}, got)
}

func TestSettingsThatAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"alerts: {NoSuchAlert: {}}": `there is no alert "NoSuchAlert"`,
		"alert: {}":                 "field alert not found",
		"alerts: {HypervisorExporterRelayDown: {expr: up}}":        "field expr not found",
		"alerts: {HypervisorExporterRelayDown: {for: 5}}":          "not a valid duration",
		"alerts: {HypervisorExporterRelayDown: {for: -5m}}":        "not a valid duration",
		"alerts: {HypervisorExporterRelayDown: {severity: 'a b'}}": "must match",
		"labels: {9a: b}":                           "not a name of a label",
		"labels: {__name__: b}":                     "not a name of a label",
		"labels: {node: b}":                         "a label of the rules themselves",
		"labels: {severity: b}":                     "a label of the rules themselves",
		"labels: {region: b}\nclusterLabel: region": "the label of clusters",
		"clusterLabel: namespace":                   "a label of the rules themselves",
		"clusterLabel: 'a, b'":                      "not a name of a label",
		"annotations: {runbook_url: b}":             "annotation of the alerts themselves",
		"annotations: {a-b: c}":                     "not a name",
		"docsURL: docs.example.com":                 "not an http or https URL",
		"docsURL: 'javascript:alert(1)'":            "not an http or https URL",
		"labels: {a: b}\n---\nlabels: {c: d}":       "more than one YAML document",
		"- a":                                       "cannot unmarshal",
		"alerts: {HypervisorExporterRelayDown: {for: 5m}}\nalerts: {}":                "already defined",
		"alerts: {HypervisorExporterRelayDown: {for: 5m, disabled: perhaps-not}}":     "cannot unmarshal",
		"alerts: {HypervisorExporterRelayDown: {for: 5m}, hypervisorexportererr: {}}": "there is no alert",
	} {
		_, err := ReadSettings([]byte(content))
		require.ErrorContains(t, err, want, content)
	}
}

// Every by and on has the label of clusters, no match is without on, and nothing aggregates over clusters. So an installation
// may call it as it likes, and the labels of the rules themselves are those that it may not take.
func TestEachExpressionTellsClustersApart(t *testing.T) {
	for _, name := range []string{"cluster", "region", ""} {
		settings := Settings{ClusterLabel: &name}
		for _, group := range groupsOf(settings.Components()) {
			for _, rule := range group.Recordings {
				requireWidened(t, rule.Expr, name)
			}
			for _, rule := range group.Alerts {
				requireWidened(t, rule.Expr, name)
			}
		}
	}
}

func requireWidened(t *testing.T, expr, name string) {
	t.Helper()
	check := func(names []string) {
		require.Equal(t, name != "", slices.Contains(names, name), "%v in %s", names, expr)
		for _, one := range names {
			require.True(t, one == name || slices.Contains(ownLabels, one), "%s is not in ownLabels", one)
		}
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, expr)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			require.False(t, n.Without, expr)
			check(n.Grouping)
		case *parser.BinaryExpr:
			switch {
			case n.VectorMatching == nil:
			case n.VectorMatching.On:
				check(n.VectorMatching.MatchingLabels)
			default: // all labels must be equal, this one too
				require.Empty(t, n.VectorMatching.MatchingLabels, "ignoring in %s", expr)
			}
		case *parser.Call:
			require.NotEqual(t, "absent", n.Func.Name, expr)
		}
		return nil
	})
}

// The plain file and the objects have the same groups.
func TestObjectsHaveTheGroupsOfTheRulesFile(t *testing.T) {
	components := read(t, "labels: {team: virt}\nclusterLabel: region").Components()
	file, err := RulesFile(components)
	require.NoError(t, err)
	objects, err := PrometheusRules(components)
	require.NoError(t, err)
	type groups struct{ Groups []any }
	var want, got groups
	require.NoError(t, yaml.Unmarshal(file, &want))
	decoder := yaml.NewDecoder(strings.NewReader(string(objects)))
	for range components {
		var object struct{ Spec groups }
		require.NoError(t, decoder.Decode(&object))
		got.Groups = append(got.Groups, object.Spec.Groups...)
	}
	require.NotEmpty(t, want.Groups)
	require.Equal(t, want, got)
}

// The settings in docs/alerts.md are read, and are all that there are.
func TestSettingsOfTheDocs(t *testing.T) {
	page, err := os.ReadFile(alertsPage)
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)```yaml\n(clusterLabel: .*?)```").FindSubmatch(page)
	require.NotNil(t, example)
	settings := read(t, string(example[1]))
	requireAllSet(t, settings, "Namespace", "RelayNamespace") // flags
	var all AlertSettings
	for _, one := range settings.Alerts {
		all.Severity += one.Severity
		all.Disabled = all.Disabled || one.Disabled
		if one.For != nil {
			all.For = one.For
		}
	}
	requireAllSet(t, all)
}

func requireAllSet(t *testing.T, settings any, but ...string) {
	t.Helper()
	value := reflect.ValueOf(settings)
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		require.Equal(t, slices.Contains(but, name), value.Field(i).IsZero(), name)
	}
}
