package checks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// rule is one of the product's, as its manifests have it.
type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ruleGroup struct {
	Name     string `json:"name"`
	Interval string `json:"interval,omitempty"`
	Rules    []rule `json:"rules"`
}

// minutes are a duration in a rule.
var minutes = regexp.MustCompile(`\b(\d+)m\b`)

// shortMark is a label of the short copies' alerts, and of no other.
const shortMark = "e2e"

// productRules are the groups of all rules of the product.
func productRules(t *testing.T) []ruleGroup {
	t.Helper()
	var groups []ruleGroup
	for _, path := range []string{"manifests/monitoring/prometheusrule.yaml", "manifests/relay/monitoring/prometheusrule.yaml"} {
		text, err := os.ReadFile(filepath.Join(product(t), path))
		require.NoError(t, err)
		objects, err := cluster.Objects(text)
		require.NoError(t, err)
		for _, object := range objects {
			text, err := json.Marshal(object.Object["spec"])
			require.NoError(t, err)
			var spec struct{ Groups []ruleGroup }
			require.NoError(t, json.Unmarshal(text, &spec))
			groups = append(groups, spec.Groups...)
		}
	}
	return groups
}

// shortened are copies of the alerts with a second for each minute, so that what takes a quarter of an hour can be seen
// here. Nothing else of them differs but a label.
func shortened(groups []ruleGroup) []ruleGroup {
	var short []ruleGroup
	for _, group := range groups {
		group.Name += "-short"
		group.Interval = minutes.ReplaceAllString(group.Interval, "${1}s")
		group.Rules = slices.DeleteFunc(slices.Clone(group.Rules), func(r rule) bool { return r.Alert == "" })
		for i, r := range group.Rules {
			r.Expr, r.For = minutes.ReplaceAllString(r.Expr, "${1}s"), minutes.ReplaceAllString(r.For, "${1}s")
			r.Labels = map[string]string{"severity": r.Labels["severity"], shortMark: "short"}
			group.Rules[i] = r
		}
		short = append(short, group)
	}
	return short
}

// installShortRules puts the short copies beside the product's rules, in a namespace that goes with no product.
func (w *world) installShortRules(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": map[string]any{"name": "e2e-short", "namespace": cluster.Monitoring},
		"spec":     map[string]any{"groups": shortened(productRules(t))},
	})
	require.NoError(t, err)
	objects, err := cluster.Objects(text)
	require.NoError(t, err)
	require.NoError(t, w.Apply(t.Context(), objects...))
}
