package charttest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// The chart's settings of alerts make the same rules as those of kubectl hypervisor rules.
func TestSettingsOfAlerts(t *testing.T) {
	for name, settings := range map[string]string{
		"severity and for": `{"alerts": {"HypervisorExporterRelayDown": {"severity": "page", "for": "1h30m"}, "NodeTurnedToSoftwareEmulation": {"for": "15m"}}}`,
		"disabled":         `{"alerts": {"VirtualMachineDomainTypeOther": {"disabled": true}, "HypervisorExporterRelayDown": {"disabled": true}}}`,
		"labels":           `{"labels": {"team": "virtualization", "operator_health_impact": ""}}`,
		"annotations":      `{"annotations": {"dashboard_url": "https://grafana.example.com/d/a"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			of, err := rules.ReadSettings([]byte(settings)) // JSON is YAML
			require.NoError(t, err)
			text, err := rules.PrometheusRules(of.Components())
			require.NoError(t, err)
			want, err := apiservertest.Objects(strings.NewReader(string(text)))
			require.NoError(t, err)
			require.ElementsMatch(t, groups(t, want), groups(t, render(t, "--set-json=monitoring.prometheusRule="+asValues(t, settings))))
		})
	}
}

// asValues renames settings to the chart's values.
func asValues(t *testing.T, settings string) string {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal([]byte(settings), &all))
	values := map[string]any{}
	for setting, value := range map[string]string{"labels": "alertLabels", "annotations": "alertAnnotations", "alerts": "alerts"} {
		if set, ok := all[setting]; ok {
			values[value] = set
		}
	}
	text, err := json.Marshal(values)
	require.NoError(t, err)
	return string(text)
}

// groups are those of all PrometheusRules among the objects, as YAML.
func groups(t *testing.T, objects []*unstructured.Unstructured) (all []string) {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() != "PrometheusRule" {
			continue
		}
		found, _, err := unstructured.NestedSlice(object.Object, "spec", "groups")
		require.NoError(t, err)
		for _, group := range found {
			text, err := yaml.Marshal(group)
			require.NoError(t, err)
			all = append(all, string(text))
		}
	}
	return all
}
