package dashboards

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// Each metric in a panel or a rule is one that the product or a known other program serves.
func TestEachMetricExists(t *testing.T) {
	known := servedMetrics(t)
	var expressions []string
	for _, panel := range Panels() {
		for _, query := range panel.Queries {
			expressions = append(expressions, Expand(query.Expr, Selection{}))
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
				require.True(t, known[selector.Name], "no known program serves %s: %s", selector.Name, expr)
			}
			return nil
		})
	}
}

// servedMetrics returns the metrics of docs/metrics.md, of the webhook and the relay, and of other programs.
func servedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	known := described{}
	doc, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		known[match[1]] = true
	}
	require.Greater(t, len(known), 5, "no table of metrics found in docs/metrics.md")
	admission.NewMetrics(known)
	certs.NewMetrics(known)
	for _, part := range []string{"webhook", "relay"} {
		known.MustRegister(certificate.NewCollector("hypervisor_exporter_"+part+"_certificate_not_after_timestamp_seconds", nil))
	}
	for _, name := range []string{
		"hypervisor_exporter_relay_scrapes_total", "hypervisor_exporter_relay_scrape_duration_seconds_bucket", // relay/scrape/metrics.go
		"up", "ALERTS", "prometheus_rule_evaluation_failures_total", // Prometheus
		"kubevirt_vmi_info", "kubevirt_configuration_emulation_enabled", // KubeVirt, vmistats_collector.go and leader_metrics.go
		"kube_namespace_labels", "kube_pod_labels", "kube_pod_annotations", "kube_pod_status_phase", // kube-state-metrics
		"kube_pod_container_resource_requests", "kube_node_status_allocatable",
		"apiserver_admission_webhook_fail_open_count",
	} {
		known[name] = true
	}
	return known
}

// described is a prometheus.Registerer that keeps the names of the metrics, those without series included.
type described map[string]bool

func (d described) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		_ = d.Register(collector)
	}
}

func (d described) Register(collector prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc, 100)
	collector.Describe(descriptions)
	close(descriptions)
	for description := range descriptions {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(description.String())[1]
		d[name], d[name+"_bucket"] = true, true
	}
	return nil
}

func (described) Unregister(prometheus.Collector) bool { return false }
