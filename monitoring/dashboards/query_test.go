package dashboards

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// fleet_test.go has the series. node-2 lost KVM, one guest is of another architecture, the libvirt of one VM does not
// answer, one exporter cannot be scraped, and one keeps restarting.

// numbers are the values of the panels that show one.
var numbers = map[string]float64{
	"Running VMs": 5, "On emulation": 2, "Share on emulation": 0.4, "Unknown": 1, "Nodes with emulated VMs": 2,
	"Exporters that cannot be scraped": 1, "libvirt does not answer": 1, "VMs without an exporter": 2,
	"Versions of the exporter": 2, "Replicas": 2, "Certificate ends in": 20 * 86400, "Nodes whose relay is down": 0,
}

// names are the series of the other panels, by the labels that the panel shows.
var names = map[string][]string{
	"VMs by hypervisor type":       {`{hypervisor_type="kvm"}`, `{hypervisor_type="qemu-tcg"}`, `{hypervisor_type="unknown"}`},
	"Share on emulation over time": {`{}`},
	"VMs on software emulation": {
		`{namespace="shop",name="slow",node="node-2",arch="x86_64",machine="q35",hypervisor_version="9.1.0",libvirt_version="10.10.0"}`,
		`{namespace="build",name="arm",node="node-3",arch="aarch64",machine="virt",hypervisor_version="9.1.0",libvirt_version="10.10.0"}`,
	},
	"VMs by node and type": {
		`{node="node-1",hypervisor_type="kvm"}`, `{node="node-2",hypervisor_type="qemu-tcg"}`,
		`{node="node-2",hypervisor_type="unknown"}`, `{node="node-3",hypervisor_type="qemu-tcg"}`,
	},
	"VMs by QEMU version":                       {`{hypervisor_version="9.1.0"}`, `{hypervisor_version="10.0.0"}`},
	"VMs by libvirt version":                    {`{libvirt_version="10.10.0"}`},
	"Exporters that cannot be scraped, by node": {`{node="node-1"}`, `{node="node-2"}`, `{node="node-3"}`},
	"Exporters that died, by node":              {`{node="node-1"}`, `{node="node-2"}`, `{node="node-3"}`},
	"Failed reads of a VM's type, by reason":    {`{reason="libvirt"}`},
	"Decisions":                                 {`{reason="injected"}`},
	"Rejected requests":                         {`{reason="not_a_review"}`},
	"Time to decide":                            {`{}`},
	"Scrapes carried, by result":                {`{result="ok"}`},
	"Time to carry a scrape":                    {`{}`},
}

// Each query of each panel returns what the panel shows, by Prometheus' own engine; and nothing, not 0, for a namespace
// and a node that do not exist.
func TestQueries(t *testing.T) {
	var questions []any
	ask := func(expr string, expected ...any) {
		questions = append(questions, map[string]any{"expr": expr, "eval_time": "30m", "exp_samples": expected})
	}
	for _, panel := range panels() {
		for _, query := range panel.Queries {
			if number, ok := numbers[panel.Title]; ok {
				ask(Expand(query.Expr, "", ""), map[string]any{"labels": "{}", "value": number})
			} else {
				require.Contains(t, names, panel.Title)
				var expected []any
				for _, labels := range names[panel.Title] {
					expected = append(expected, map[string]any{"labels": labels, "value": 1})
				}
				ask(fmt.Sprintf("group by (%s) (%s)", strings.Join(shown(panel, query), ","), Expand(query.Expr, "", "")), expected...)
			}
			if strings.Contains(query.Expr, "$namespace") {
				ask(Expand(query.Expr, "no-such-namespace", "no-such-node"))
			}
		}
	}
	promtool(t, map[string]any{"name": "fleet", "interval": "1m", "input_series": fleetSeries(), "promql_expr_test": questions})
}

// shown returns the labels by which the panel tells its series apart.
func shown(panel Panel, query Query) []string {
	labels := panel.Columns
	for _, match := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(query.Legend, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// promtool runs the test with the product's rules.
func promtool(t *testing.T, test map[string]any) {
	t.Helper()
	content, err := rules.RulesFile(rules.Components())
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), content, 0o600))
	content, err = yaml.Marshal(map[string]any{"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m", "tests": []any{test}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test.yaml"), content, 0o600))
	output, err := exec.Command("promtool", "test", "rules", filepath.Join(dir, "test.yaml")).CombinedOutput()
	require.NoError(t, err, "%s\npromtool: apt-get install -y --no-install-recommends prometheus", output)
}

func panels() []Panel {
	var all []Panel
	for _, row := range Rows() {
		all = append(all, row.Panels...)
	}
	return all
}
