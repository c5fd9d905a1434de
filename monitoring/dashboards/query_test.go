package dashboards

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/monitoring/dashboards/promtest"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// Each query of each panel gives data, by a real Prometheus with a fleet in it.
func TestEachQueryReturnsData(t *testing.T) {
	content, err := rules.RulesFile()
	require.NoError(t, err)
	server, err := promtest.Start(t.Context(), t.TempDir(), content)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	for _, panel := range panels() {
		for _, query := range panel.Queries {
			ask := server.Over
			if panel.Kind.AtOnce() {
				ask = server.Now
			}
			series, err := ask(Expand(query.Expr, "", ""))
			require.NoError(t, err, panel.Title)
			require.NotEmpty(t, series, "%s: %s", panel.Title, query.Expr)
			requireColumns(t, panel, series)

			none, err := ask(Expand(query.Expr, "no-such-namespace", "no-such-node"))
			require.NoError(t, err, panel.Title)
			if strings.Contains(query.Expr, "$namespace") {
				require.Empty(t, none, "%s: a choice that nothing matches gives nothing, not 0", panel.Title)
			}
		}
	}
	requireNumbers(t, server)
}

// The numbers of the fleet that promtest tells of.
func requireNumbers(t *testing.T, server *promtest.Server) {
	t.Helper()
	want := map[string]float64{
		"Running VMs": 43, "On emulation": 9, "Share on emulation": 9. / 43, "Unknown": 1, "Nodes with emulated VMs": 2,
		"Exporters that cannot be scraped": 1, "libvirt does not answer": 1, "VMs without an exporter": 2,
		"Versions of the exporter": 1, "Replicas": 2, "Certificate ends in": 21 * 86400, "Nodes whose relay is down": 0,
	}
	for _, panel := range panels() {
		if panel.Kind == Stat {
			series, err := server.Now(Expand(panel.Queries[0].Expr, "", ""))
			require.NoError(t, err)
			require.Len(t, series, 1, panel.Title)
			require.Contains(t, want, panel.Title)
			require.InDelta(t, want[panel.Title], series[0].Points[0].Value, 1e-9, panel.Title)
		}
	}
}

func requireColumns(t *testing.T, panel Panel, series []promtest.Series) {
	t.Helper()
	for _, column := range panel.Columns {
		require.Contains(t, series[0].Labels, column, panel.Title)
	}
	for _, query := range panel.Queries {
		for _, label := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(query.Legend, -1) {
			require.Contains(t, series[0].Labels, label[1], panel.Title)
		}
	}
}

// Each metric that a panel or a rule asks for is one that somebody serves.
func TestEachMetricExists(t *testing.T) {
	known := servedMetrics(t)
	expressions := []string{}
	for _, panel := range panels() {
		for _, query := range panel.Queries {
			expressions = append(expressions, Expand(query.Expr, "", ""))
		}
	}
	for _, alert := range rules.Alerts() {
		expressions = append(expressions, alert.Expr)
	}
	for _, recording := range rules.Recordings() {
		known[recording.Name] = true
		expressions = append(expressions, recording.Expr)
	}
	for _, expr := range expressions {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err, expr)
		parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok {
				require.True(t, known[selector.Name], "%s is served by nobody that we know: %s", selector.Name, expr)
			}
			return nil
		})
	}
}

// servedMetrics are those of docs/metrics.md, of the webhook's own pages, and of others.
func servedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	doc, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		known[match[1]] = true
	}
	require.Greater(t, len(known), 5, "docs/metrics.md is not read as it is written")
	for _, name := range append(productMetrics(t), othersMetrics()...) {
		known[name] = true
	}
	return known
}

// othersMetrics are Prometheus's, KubeVirt's (vmistats_collector.go), kube-state-metrics's and the API server's.
func othersMetrics() []string {
	return []string{
		"up", "kubevirt_vmi_info", "kube_namespace_labels", "kube_pod_labels", "kube_pod_annotations", "kube_pod_status_phase",
		"apiserver_admission_webhook_fail_open_count", "prometheus_rule_evaluation_failures_total",
	}
}

func panels() []Panel {
	var all []Panel
	for _, row := range Rows() {
		all = append(all, row.Panels...)
	}
	return all
}
