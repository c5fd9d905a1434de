package dashboards

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	"Running VMs": 5, "On emulation": 2, "Share on emulation": 0.4, "Type unknown": 1, "Nodes with emulated VMs": 2,
	"Exporters down": 1, "libvirt unreachable": 1, "VMs without an exporter": 2,
	"Exporter versions": 2, "Replicas": 2, "Certificate expires in": 20 * 86400, "Relays down": 0,
	"Paused by an error": 1, "QEMU does not answer": 1, "VMs with an emulated disk or interface": 2,
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
	"VMs by QEMU version":                            {`{hypervisor_version="9.1.0"}`, `{hypervisor_version="10.0.0"}`},
	"VMs by libvirt version":                         {`{libvirt_version="10.10.0"}`},
	"Exporters down, by node":                        {`{node="node-1"}`, `{node="node-2"}`, `{node="node-3"}`},
	"Exporter restarts, by node":                     {`{node="node-1"}`, `{node="node-2"}`, `{node="node-3"}`},
	"Exporters that do not know the type, by reason": {`{error="libvirt"}`},
	"Admissions, by reason":                          {`{reason="injected"}`},
	"Rejected requests":                              {`{reason="not_a_review"}`},
	"VMs by enlightenments for Windows":              {`{hyperv="none"}`},
	"Admission latency":                              {`{}`},
	"Relay scrapes, by result":                       {`{result="ok"}`},
	"Relay scrape latency":                           {`{}`},
}

// Each query of each panel returns what the panel shows, by Prometheus' own engine; and nothing, not 0, for a namespace
// and a node that do not exist.
func TestQueries(t *testing.T) {
	promtool(t, fleetSeries(), append(shownOf(t, ""), nothingShown()...))
}

// Of a cluster that is chosen, a Prometheus that has another with the same names shows the same.
func TestQueriesOfOneCluster(t *testing.T) {
	both := slices.Concat(in("prod-a", fleetSeries()), in("prod-b", twinSeries()))
	promtool(t, both, append(shownOf(t, "prod-a"), nothingShown()...))
}

// inAll are the values where both clusters are chosen, none of which hides behind its namesake.
var inAll = map[string]float64{
	"Running VMs": 5 + 6, "On emulation": 2 + 2, "Share on emulation": 4. / 11, "Type unknown": 1 + 0, "Nodes with emulated VMs": 2 + 1,
	"Exporters down": 1 + 0, "libvirt unreachable": 1 + 0, "VMs without an exporter": 2 + 0,
	"Exporter versions": 3, "Replicas": 0, "Certificate expires in": 20 * 86400, "Relays down": 0 + 2,
	"Paused by an error": 1 + 0, "QEMU does not answer": 1 + 2, "VMs with an emulated disk or interface": 2 + 2,
}

func TestQueriesOfAllClusters(t *testing.T) {
	both := slices.Concat(in("prod-a", fleetSeries()), in("prod-b", twinSeries()))
	var questions []question
	for _, panel := range panels() {
		if _, isNumber := numbers[panel.Title]; isNumber {
			questions = append(questions, ask(Expand(panel.Queries[0].Expr, "", "", ""), sample{"{}", inAll[panel.Title]}))
		}
	}
	require.Len(t, questions, len(inAll))
	promtool(t, both, questions)
}

// shownOf asks what the panels show of a cluster, whose name may be empty.
func shownOf(t *testing.T, cluster string) []question {
	t.Helper()
	var questions []question
	for _, panel := range panels() {
		for _, query := range panel.Queries {
			expr := Expand(query.Expr, cluster, "", "")
			if number, ok := numbers[panel.Title]; ok {
				questions = append(questions, ask(expr, sample{"{}", number}))
				continue
			}
			require.Contains(t, names, panel.Title)
			labels := shown(panel, query)
			var expected []sample
			for _, series := range names[panel.Title] {
				if cluster != "" && slices.Contains(labels, "cluster") {
					series = strings.Replace(series, "{", fmt.Sprintf("{cluster=%q,", cluster), 1)
				}
				expected = append(expected, sample{series, 1})
			}
			questions = append(questions, ask(fmt.Sprintf("group by (%s) (%s)", strings.Join(labels, ","), expr), expected...))
		}
	}
	return questions
}

// nothingShown asks for VMs that do not exist.
func nothingShown() []question {
	var questions []question
	for _, panel := range panels() {
		for _, query := range panel.Queries {
			if strings.Contains(query.Expr, "$namespace") {
				questions = append(questions, ask(Expand(query.Expr, "", "no-such-namespace", "no-such-node")))
			}
		}
	}
	return questions
}

// A question is one of promtool's, with the samples that it expects.
type question struct {
	Expr     string   `yaml:"expr"`
	Time     string   `yaml:"eval_time"`
	Expected []sample `yaml:"exp_samples"`
}

type sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

func ask(expr string, expected ...sample) question { return question{expr, "30m", expected} }

// shown returns the labels by which the panel tells its series apart.
func shown(panel Panel, query Query) []string {
	labels := panel.Columns
	for _, match := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(query.Legend, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// promtool asks about the series, with the product's rules.
func promtool(t *testing.T, input []series, questions []question) {
	t.Helper()
	test := map[string]any{"name": "fleet", "interval": "1m", "input_series": input, "promql_expr_test": questions}
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

// What a panel shows, and what to do about it, is said at the panel. An alert that is named exists.
func TestEachPanelIsDescribed(t *testing.T) {
	alerts := map[string]bool{}
	for _, alert := range rules.Alerts() {
		alerts[alert.Name] = true
	}
	for _, panel := range panels() {
		require.Regexp(t, `^[A-Z].*\.$`, panel.Description, panel.Title)
		for _, name := range regexp.MustCompile(`HypervisorExporter\w+|VirtualMachine[A-Z]\w+`).FindAllString(panel.Description, -1) {
			require.True(t, alerts[name], "%s: there is no alert %s", panel.Title, name)
		}
	}
}

// Each alert of the product has its runbook at a panel, but the one about the rules themselves, which no panel shows.
func TestEachAlertIsLinkedFromAPanel(t *testing.T) {
	linked := map[string]bool{"HypervisorExporterRulesFailing": true}
	for _, panel := range panels() {
		for _, name := range panel.Alerts {
			linked[name] = true
		}
	}
	want := map[string]bool{}
	for _, component := range rules.Components() {
		for _, group := range component.Groups {
			for _, alert := range group.Alerts {
				want[alert.Name] = true
			}
		}
	}
	require.Equal(t, want, linked)
}

func panels() []Panel {
	var all []Panel
	for _, row := range Rows() {
		all = append(all, row.Panels...)
	}
	return all
}
