package rules

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The format of `promtool test rules`.
type (
	unitTest struct {
		RuleFiles          []string    `yaml:"rule_files"`
		EvaluationInterval string      `yaml:"evaluation_interval"`
		GroupOrder         []string    `yaml:"group_eval_order"`
		Tests              []testGroup `yaml:"tests"`
	}
	testGroup struct {
		Name      string       `yaml:"name"`
		Interval  string       `yaml:"interval"`
		Input     []testSeries `yaml:"input_series"`
		Alerts    []alertTest  `yaml:"alert_rule_test,omitempty"`
		Questions []exprTest   `yaml:"promql_expr_test"`
	}
	testSeries struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	alertTest struct {
		EvalTime string          `yaml:"eval_time"`
		Name     string          `yaml:"alertname"`
		Expected []expectedAlert `yaml:"exp_alerts"`
	}
	expectedAlert struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	}
	exprTest struct {
		Expr     string           `yaml:"expr"`
		EvalTime string           `yaml:"eval_time"`
		Expected []expectedSample `yaml:"exp_samples"`
	}
	expectedSample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
)

// TestRules runs each scenario in Prometheus' own rule engine, in a Prometheus of its own and beside all others of the rule.
func TestRules(t *testing.T) {
	for _, rule := range ruleNames() {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			output, err := runPromtool(t, Groups(), rule, append(alone(t, rule), fleet(t, rule))...)
			require.NoError(t, err, output)
		})
	}
}

// runPromtool runs tests of one rule. It returns an error if one of them fails; the output names it.
func runPromtool(t *testing.T, groups []Group, rule string, tests ...testGroup) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, test := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "test.yaml")
	kept := needed(groups, rule)
	content, err := encode(groupsNode(kept))
	require.NoError(t, err)
	var order []string // without one, promtool evaluates what it reads before what is recorded, now and then
	for _, group := range kept {
		order = append(order, group.Name)
	}
	require.NoError(t, os.WriteFile(file, content, 0o600))
	content, err = yaml.Marshal(unitTest{RuleFiles: []string{file}, EvaluationInterval: "1m", GroupOrder: order, Tests: tests})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(test, content, 0o600))
	output, err := exec.Command(promtool(t), "test", "rules", test).CombinedOutput()
	return string(output), err
}

// needed returns the rule and the recording rules that it needs: evaluating the others would take most of the time.
func needed(groups []Group, rule string) []Group {
	asked, _ := source(rule)
	for _, recording := range slices.Backward(Recordings()) { // one needs only those before it
		if strings.Contains(asked, recording.Name) {
			asked += recording.Expr
		}
	}
	var kept []Group
	for _, group := range groups {
		group.Alerts = slices.DeleteFunc(slices.Clone(group.Alerts), func(a Alert) bool { return a.Name != rule })
		group.Recordings = slices.DeleteFunc(slices.Clone(group.Recordings), func(r Recording) bool {
			return r.Name != rule && !strings.Contains(asked, r.Name)
		})
		if len(group.Alerts)+len(group.Recordings) > 0 {
			kept = append(kept, group)
		}
	}
	return kept
}

// source returns the expression of a rule, and how long an alert waits.
func source(rule string) (string, time.Duration) {
	for _, recording := range Recordings() {
		if recording.Name == rule {
			return recording.Expr, 0
		}
	}
	for _, alert := range Alerts() {
		if alert.Name == rule {
			return alert.Expr, alert.For
		}
	}
	return "", 0
}

func ruleNames() []string {
	var names []string
	for _, recording := range Recordings() {
		names = append(names, recording.Name)
	}
	for _, alert := range Alerts() {
		names = append(names, alert.Name)
	}
	return names
}

func promtool(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("promtool")
	require.NoError(t, err, "install it with: apt-get install -y --no-install-recommends prometheus")
	return program
}

// alone returns each scenario of the rule in a Prometheus of its own, whose series have no label cluster.
func alone(t *testing.T, rule string) []testGroup {
	t.Helper()
	var tests []testGroup
	for _, story := range scenariosOf(rule) {
		test := testGroup{Name: rule + ": " + story.story, Interval: "1m", Input: series(t, story, "")}
		for _, moment := range story.want {
			test.Questions = append(test.Questions, question(t, rule, "", moment))
		}
		if story.describes != "" {
			test.Alerts = append(test.Alerts, described(t, story))
		}
		tests = append(tests, test)
	}
	return tests
}

// fleet returns one Prometheus with all scenarios of the rule, each in a cluster of its own. The clusters have nodes,
// namespaces and VMs of the same names, in other states. In each is seen what is seen in it alone.
func fleet(t *testing.T, rule string) testGroup {
	t.Helper()
	test := testGroup{Name: rule + ": a fleet of clusters", Interval: "1m"}
	for i, story := range scenariosOf(rule) {
		cluster := fmt.Sprintf("%02d: %s", i, story.story)
		test.Input = append(test.Input, series(t, story, cluster)...)
		want := story.beside
		if want == nil {
			want = story.want
		}
		for _, moment := range want {
			test.Questions = append(test.Questions, question(t, rule, cluster, moment))
		}
		test.Questions = append(test.Questions, exprTest{Expr: asked(rule, `cluster=""`), EvalTime: fmt.Sprintf("%dm", want[0].minute)})
	}
	return test
}

// series returns the input of a scenario, with what pages forge.
func series(t *testing.T, story scenario, cluster string) []testSeries {
	t.Helper()
	var all []testSeries
	for _, one := range joined(t, slices.Concat(story.input, forgedByPages(story.input))) {
		if cluster != "" {
			one = one.with("cluster", cluster)
		}
		all = append(all, testSeries{one.labels.String(), one.values()})
	}
	return all
}

// asked selects the recorded series or, of an alert, what fires.
func asked(rule, matcher string) string {
	if isRecording(rule) {
		return rule + `{job="",` + matcher + `}`
	}
	return fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing",%s}`, rule, matcher)
}

// question asks for what is seen of the rule in the cluster or, if that is empty, at all.
func question(t *testing.T, rule, cluster string, m moment) exprTest {
	t.Helper()
	test := exprTest{Expr: asked(rule, ""), EvalTime: fmt.Sprintf("%dm", m.minute)}
	base := labels{"__name__": rule}
	if !isRecording(rule) {
		base = labelled(t, rule).with("__name__", "ALERTS", "alertname", rule, "alertstate", "firing")
	}
	if cluster != "" {
		test.Expr = asked(rule, fmt.Sprintf("cluster=%q", cluster))
		base = base.with("cluster", cluster)
	}
	value := m.value
	if value == 0 {
		value = 1
	}
	for _, series := range m.series {
		expected := series.with()
		for key, text := range base {
			expected[key] = text
		}
		if series["value"] != "" {
			_, err := fmt.Sscan(series["value"], &value)
			require.NoError(t, err)
			delete(expected, "value")
		}
		test.Expected = append(test.Expected, expectedSample{expected.String(), value})
	}
	return test
}

// described asks for the alert with all its annotations.
func described(t *testing.T, story scenario) alertTest {
	t.Helper()
	rule, first := alert(t, story.rule), story.want[0]
	require.Len(t, first.series, 1)
	expected := labelled(t, rule.Name)
	maps.Copy(expected, first.series[0])
	return alertTest{
		EvalTime: fmt.Sprintf("%dm", first.minute), Name: rule.Name,
		Expected: []expectedAlert{{
			Labels: expected,
			Annotations: map[string]string{
				"summary": rule.Summary, "description": story.describes, "runbook_url": RunbookURL(rule.Name),
			},
		}},
	}
}

// labelled returns the labels that the rule gives its alert.
func labelled(t *testing.T, name string) labels {
	t.Helper()
	rule := alert(t, name)
	return labels(rule.Labels).with("severity", string(rule.Severity))
}

func alert(t *testing.T, name string) Alert {
	t.Helper()
	for _, one := range Alerts() {
		if one.Name == name {
			return one
		}
	}
	require.Failf(t, "no such alert", "%s", name)
	return Alert{}
}
