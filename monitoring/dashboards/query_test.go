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

// fleet_test.go has the series. One VM does not use the KVM of node-2, one guest is of another architecture, the libvirt of one VM
// does not answer, one exporter cannot be scraped, and one keeps restarting.

// thatVM is the one whose own page is asked for.
var thatVM = Selection{Namespace: "shop", Name: "slow"}

// numbers are the values of the panels that show one.
var numbers = map[string]float64{
	"Running VMs": 5, "On emulation": 2, "Share on emulation": 0.4, "Type unknown": 1, "Nodes with emulated VMs": 2,
	"Exporters down": 1, "libvirt unreachable": 1, "VMs without an exporter": 2,
	"Exporter versions": 2, "Replicas": 2, "Certificate expires in": 20 * 86400, "Relays down": 0,
	"Paused by an error": 1, "QEMU does not answer": 1,
	"QEMU has not answered for": 301, "Runs there for": 1799,
}

// counts are the values of a panel that shows several, by their legends.
var counts = map[string]float64{
	"paused by an error": 1, "QEMU does not answer": 1, "emulated, on a node with VMs on KVM": 1, "emulated, on a node without VMs on KVM": 0,
	"emulated, because of its architecture": 1, "Windows without all enlightenments": 1, "on a node that is a VM": 1,
	"emulated disk or interface": 2, "another QEMU than VMs that start now": 3,
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
		`{node="node-1",hypervisor_type="kvm"}`, `{node="node-2",hypervisor_type="kvm"}`, `{node="node-2",hypervisor_type="qemu-tcg"}`,
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
	"Stopped or slow VMs": {
		`{namespace="build",name="arm",node="node-3",cause="paused by an error"}`,
		`{namespace="shop",name="slow",node="node-2",cause="QEMU does not answer"}`,
		`{namespace="shop",name="slow",node="node-2",cause="emulated, on a node with VMs on KVM"}`,
		`{namespace="shop",name="web-1",node="node-1",cause="Windows without all enlightenments"}`,
	},

	"Executed by":         {`{hypervisor_type="qemu-tcg",node="node-2"}`},
	"State of the domain": {`{state="paused",reason="user",node="node-2"}`},
	"Its node":            {`{virtualization="none",hardware_paging="on"}`},
	"Domain":              {`{node="node-2",pod="virt-launcher-slow",domain_type="qemu",arch="x86_64",host_arch="x86_64",machine="q35"}`},
	"Devices and versions": {
		`{node="node-2",hypervisor_version="9.1.0",libvirt_version="10.10.0",hyperv="none",disks="emulated",nics="virtio"}`},
	"Alerts about this VM": {
		`{alertname="VirtualMachineOnSoftwareEmulation",severity="warning",alertstate="firing",node="node-2"}`,
		`{alertname="VirtualMachineOnSoftwareEmulationBesideKVM",severity="warning",alertstate="firing",node="node-2"}`,
		`{alertname="VirtualMachineMonitorStuck",severity="warning",alertstate="firing",node="node-2"}`,
	},
	"Hypervisor and node":           {`{hypervisor_type="qemu-tcg",node="node-2"}`},
	"State of the domain over time": {`{state="paused",reason="user"}`},
	"Versions over time":            {`{hypervisor_version="9.1.0",libvirt_version="10.10.0"}`},
	"QEMU's monitor":                {`{control_state="occupied"}`},
	"Exporter and libvirt":          {`{}`},
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

// VMs of the hypervisor that KubeVirt was configured to use are not those of which nothing is known: no alert reports them.
func TestTypeUnknownIsOnlyWhatAlertsReport(t *testing.T) {
	of := func(name string) string {
		return fmt.Sprintf("job=%q,namespace=\"shop\",name=%q,node=\"node-1\",pod=\"virt-launcher-%[2]s\"", rules.VMsJob, name)
	}
	input := fleetSeries()
	for name, domain := range map[string]string{"mshv": "hyperv", "container": "lxc"} {
		input = append(input,
			constant("kubevirt_vmi_hypervisor_info", of(name)+`,hypervisor_type="unknown"`, 1),
			constant("hypervisor_exporter_last_change_timestamp_seconds", of(name), 1),
			constant("kubevirt_vmi_hypervisor_domain_info", of(name)+fmt.Sprintf(",domain_type=%q", domain), 1))
	}
	i := slices.IndexFunc(Panels(), func(p Panel) bool { return p.Title == "Type unknown" })
	promtool(t, input, []question{ask(Expand(Panels()[i].Queries[0].Expr, Selection{}), sample{"{}", numbers["Type unknown"] + 1})})
}

// inAll are the values where both clusters are chosen, none of which hides behind its namesake.
var inAll = map[string]float64{
	"Running VMs": 5 + 6, "On emulation": 2 + 2, "Share on emulation": 4. / 11, "Type unknown": 1 + 0, "Nodes with emulated VMs": 2 + 2,
	"Exporters down": 1 + 0, "libvirt unreachable": 1 + 0, "VMs without an exporter": 2 + 0,
	"Exporter versions": 3, "Replicas": 0, "Certificate expires in": 20 * 86400, "Relays down": 0 + 2,
	"Paused by an error": 1 + 0, "QEMU does not answer": 1 + 2,
	"QEMU has not answered for": 301, "Runs there for": 1799,
}

var countsInAll = map[string]float64{
	"paused by an error": 1 + 0, "QEMU does not answer": 1 + 2, "emulated, on a node with VMs on KVM": 1 + 1, "emulated, on a node without VMs on KVM": 0 + 1,
	"emulated, because of its architecture": 1 + 0, "Windows without all enlightenments": 1 + 0, "on a node that is a VM": 1 + 0,
	"emulated disk or interface": 2 + 2, "another QEMU than VMs that start now": 3 + 0,
}

func TestQueriesOfAllClusters(t *testing.T) {
	both := slices.Concat(in("prod-a", fleetSeries()), in("prod-b", twinSeries()))
	var questions []question
	for _, panel := range Panels() {
		for _, query := range panel.Queries {
			if number, found := inAll[panel.Title]; found {
				questions = append(questions, ask(Expand(query.Expr, selectionOf(query, "")), sample{"{}", number}))
			} else if panel.Title == "VMs by cause" {
				questions = append(questions, ask(Expand(query.Expr, Selection{}), sample{"{}", countsInAll[query.Legend]}))
			}
		}
	}
	require.Len(t, questions, len(inAll)+len(countsInAll))
	promtool(t, both, questions)
}

// selectionOf is what is chosen on the panel's page.
func selectionOf(query Query, cluster string) Selection {
	if strings.Contains(query.Expr, "$name\"") {
		return Selection{Cluster: cluster, Namespace: thatVM.Namespace, Name: thatVM.Name}
	}
	return Selection{Cluster: cluster}
}

// shownOf asks what the panels show of a cluster, whose name may be empty.
func shownOf(t *testing.T, cluster string) []question {
	t.Helper()
	var questions []question
	for _, panel := range Panels() {
		for _, query := range panel.Queries {
			expr := Expand(query.Expr, selectionOf(query, cluster))
			if number, ok := numbers[panel.Title]; ok {
				questions = append(questions, ask(expr, sample{"{}", number}))
				continue
			}
			if panel.Title == "VMs by cause" {
				require.Contains(t, counts, query.Legend)
				questions = append(questions, ask(expr, sample{"{}", counts[query.Legend]}))
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
	for _, panel := range Panels() {
		for _, query := range panel.Queries {
			if strings.Contains(query.Expr, "$namespace") {
				questions = append(questions, ask(Expand(query.Expr, Selection{Namespace: "no-such-namespace", Node: "no-such-node", Name: thatVM.Name})))
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
	titles := map[string]bool{}
	for _, panel := range Panels() {
		require.False(t, titles[panel.Title], "two panels are called %s", panel.Title)
		titles[panel.Title] = true
		require.Regexp(t, `^[A-Z].*\.$`, panel.Description, panel.Title)
		for _, name := range regexp.MustCompile(`HypervisorExporter\w+|VirtualMachine[A-Z]\w+`).FindAllString(panel.Description, -1) {
			require.True(t, alerts[name], "%s: there is no alert %s", panel.Title, name)
		}
	}
}

// Each alert of the product has its runbook at a panel, but the one about the rules themselves, which no panel shows.
func TestEachAlertIsLinkedFromAPanel(t *testing.T) {
	linked := map[string]bool{"HypervisorExporterRulesFailing": true}
	for _, panel := range Panels() {
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
