package charttest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// vmsEndpoint is the endpoint of the VMs' PodMonitor with those relabelings.
func vmsEndpoint(t *testing.T, relabelings string) map[string]any {
	t.Helper()
	for _, object := range render(t, "--set-json=monitoring.podMonitors.relabelings="+relabelings) {
		if object.GetKind() == "PodMonitor" && object.GetName() == "hypervisor-exporter-vms" {
			endpoints, _, err := unstructured.NestedSlice(object.Object, "spec", "podMetricsEndpoints")
			require.NoError(t, err)
			return endpoints[0].(map[string]any)
		}
	}
	require.Fail(t, "no PodMonitor of the VMs")
	return nil
}

// Relabelings of the values come before ours, which stay as they are. A label that they set is kept, and a page cannot set it:
// a second label of the target, which is never empty, holds the value that wins.
func TestRelabelingsCannotReplaceOurs(t *testing.T) {
	usual := vmsEndpoint(t, "[]")
	got := vmsEndpoint(t, `[{"targetLabel": "environment", "replacement": "prod"}, {"targetLabel": "cluster", "replacement": "a"},
		{"sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "environment"},
		{"sourceLabels": ["__meta_kubernetes_pod_uid"], "targetLabel": "__tmp_shard", "modulus": 2, "action": "hashmod"}]`)
	guard := map[string]any{"sourceLabels": []any{"environment"}, "targetLabel": "target_environment", "replacement": "=$1"}
	rules := got["relabelings"].([]any)
	require.Equal(t, map[string]any{"targetLabel": "environment", "replacement": "prod"}, rules[0])
	var ours []any
	for _, rule := range rules[4:] {
		if !jsonEqual(t, guard, rule) {
			ours = append(ours, rule)
		}
	}
	require.Len(t, ours, len(rules)-5, "one guard, for the one label that is not ours")
	require.Equal(t, usual["relabelings"], ours)

	pageRules, usualRules := got["metricRelabelings"].([]any), usual["metricRelabelings"].([]any)
	require.Equal(t, map[string]any{"sourceLabels": []any{"target_environment"}, "regex": "=(.*)", "targetLabel": "environment"}, pageRules[0])
	require.Len(t, pageRules, len(usualRules)+1)
	for i, rule := range usualRules {
		if rule.(map[string]any)["action"] == "labelkeep" {
			rule.(map[string]any)["regex"] = rule.(map[string]any)["regex"].(string) + "|environment"
		}
		require.Equal(t, rule, pageRules[i+1])
	}
}

func jsonEqual(t *testing.T, one, other any) bool {
	t.Helper()
	a, err := json.Marshal(one)
	require.NoError(t, err)
	b, err := json.Marshal(other)
	require.NoError(t, err)
	return string(a) == string(b)
}

// What could name a target otherwise, send the token elsewhere or read what a tenant writes is refused.
func TestRelabelingsThatWouldBreakTrustAreRefused(t *testing.T) {
	refused := map[string]string{
		"another address":          `{"targetLabel": "__address__", "replacement": "a:1"}`,
		"another pod":              `{"targetLabel": "__meta_kubernetes_pod_uid", "replacement": "a"}`,
		"any label":                `{"targetLabel": "${1}", "sourceLabels": ["pod"]}`,
		"all pod labels":           `{"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"}`,
		"no label":                 `{"action": "labeldrop", "regex": ".*"}`,
		"no label, capitalized":    `{"action": "LabelDrop", "regex": ".*"}`,
		"a pod's label":            `{"targetLabel": "team", "sourceLabels": ["__meta_kubernetes_pod_label_team"]}`,
		"a pod's annotation":       `{"action": "keep", "sourceLabels": ["__meta_kubernetes_pod_annotation_a"]}`,
		"a guard":                  `{"targetLabel": "target_cluster", "replacement": "=a"}`,
		"a label that was renamed": `{"targetLabel": "exported_job", "replacement": "a"}`,
		"an unknown field":         `{"target_label": "team"}`,
	}
	// What the page's rules keep, but for cluster, which a target may have.
	for _, rule := range vmsEndpoint(t, "[]")["metricRelabelings"].([]any) {
		if rule := rule.(map[string]any); rule["action"] == "labelkeep" {
			for _, label := range strings.Split(rule["regex"].(string), "|") {
				if label != "cluster" {
					refused["label "+label] = `{"targetLabel": "` + label + `", "replacement": "a"}`
				}
			}
		}
	}
	require.Greater(t, len(refused), 30)
	values := filepath.Join(t.TempDir(), "values.json")
	for name, rule := range refused {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(values, []byte(`{"monitoring": {"podMonitors": {"relabelings": [`+rule+`]}}}`), 0o600))
			_, err := client.template(t.Context(), "--values="+values)
			require.ErrorContains(t, err, "/monitoring/podMonitors/relabelings/0")
		})
	}
}
