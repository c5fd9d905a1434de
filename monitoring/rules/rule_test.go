package rules

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func TestEachRuleHasEachKindOfScenario(t *testing.T) {
	everyKind := []kind{fires, silent, resolves, restart, migration, reboot}
	told := map[string]map[kind]int{}
	described := map[string]bool{}
	for _, one := range scenarios() {
		if told[one.rule] == nil {
			told[one.rule] = map[kind]int{}
		}
		told[one.rule][one.kind]++
		described[one.rule] = described[one.rule] || one.describes != ""
	}
	for _, alert := range Alerts() {
		require.True(t, described[alert.Name], "%s: no scenario has its description", alert.Name)
		for _, kind := range everyKind {
			if kind == migration && isApart(alert.Name) {
				continue
			}
			require.NotZero(t, told[alert.Name][kind], "%s: no scenario in which it %s", alert.Name, kind)
		}
	}
	for _, recording := range Recordings() {
		for _, kind := range []kind{fires, resolves, migration} {
			require.NotZero(t, told[recording.Name][kind], "%s: no scenario in which it %s", recording.Name, kind)
		}
	}
	require.Len(t, told, len(Alerts())+len(Recordings()), "a scenario is of no rule")
}

// isApart reports whether a migration does not concern the alert.
func isApart(name string) bool {
	for _, alert := range slices.Concat(webhook().Alerts, certs().Alerts, evaluation().Alerts, []Alert{nodeWithoutDevice(), emulationEnabled()}) {
		if alert.Name == name {
			return true
		}
	}
	return false
}

// What Prometheus of Debian 12 reads, later ones do.
func TestPromtoolReadsTheRules(t *testing.T) {
	content, err := RulesFile(append(Components(), WithoutExporter()))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	output, err := exec.Command(promtool(t), "check", "rules", "--lint=all", "--lint-fatal", path).CombinedOutput()
	require.NoError(t, err, string(output))
}

func TestAlertsAreComplete(t *testing.T) {
	names := map[string]bool{}
	for _, alert := range Alerts() {
		require.Regexp(t, `^[A-Z][A-Za-z]+$`, alert.Name)
		require.False(t, names[alert.Name], "%s is there twice", alert.Name)
		names[alert.Name] = true
		require.NotContains(t, alert.Summary, "{{", alert.Name)
		require.Regexp(t, `\.$`, alert.Summary, alert.Name)
		require.Regexp(t, `\.$`, alert.Description, alert.Name)
		require.Contains(t, RunbookURL(alert.Name), Docs)
		requireLabelsAreGiven(t, alert)
	}
}

// A description that names a label which the expression drops would say "node ".
func requireLabelsAreGiven(t *testing.T, alert Alert) {
	t.Helper()
	named := map[string]bool{}
	for _, one := range scenariosOf(alert.Name) {
		for _, moment := range one.want {
			for _, series := range moment.series {
				for label := range series {
					named[label] = true
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(alert.Description, -1) {
		require.True(t, named[match[1]], "%s names the label %s, which it does not have", alert.Name, match[1])
	}
}

// A tenant's pod may send series of any name through the VMs' job: each selector names the job
// of ours that it asks, or excludes that one.
func TestEachSelectorKeepsPagesApart(t *testing.T) {
	ours := regexp.MustCompile(`^(kubevirt_vmi_hypervisor_.+|hypervisor_exporter_.+)$`)
	jobs := map[string]string{"hypervisor_exporter_webhook_": WebhookJob, "hypervisor_exporter_relay_": RelayJob}
	for _, expr := range expressions() {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err, expr)
		parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			asked := ""
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name == "job" {
					asked = matcher.String()
				}
			}
			is := func(job string) string { return fmt.Sprintf("job=%q", job) }
			want := []string{NotVMs}
			switch {
			case selector.Name == "up":
				want = []string{is(VMsJob), is(WebhookJob), is(RelayJob), NotVMs}
			case selector.Name == "kubevirt_node_virtualization_info":
				want = []string{is(RelayJob)}
			case ours.MatchString(selector.Name):
				want = []string{is(VMsJob)}
				for prefix, job := range jobs {
					if strings.HasPrefix(selector.Name, prefix) {
						want = []string{is(job)}
					}
				}
			}
			require.Contains(t, want, asked, "%s in %s", selector.Name, expr)
			return nil
		})
	}
}

func expressions() []string {
	var all []string
	for _, alert := range Alerts() {
		all = append(all, alert.Expr)
	}
	for _, recording := range Recordings() {
		all = append(all, recording.Expr)
	}
	return all
}
