package scrape

import (
	"fmt"
	"maps"
	"math"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/monitoring/dashboards"
	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// onceBroken is the rule that one page with two series ended for all VMs. It is evaluated beside
// the others, to see that the pages of this test would still do it.
const onceBroken = `group by (namespace, name, node, hypervisor_type) (
  topk by (namespace, name) (1,
    kubevirt_vmi_hypervisor_info{job="` + rules.VMsJob + `"}
    * ignoring (hypervisor_type) group_left ()
    hypervisor_exporter_last_change_timestamp_seconds{job="` + rules.VMsJob + `"}
  )
)`

// minute is how long a minute of the rules takes in this test.
const minute = 250 * time.Millisecond

var minutes = regexp.MustCompile(`\b(\d+)m\b`)

// shortRules returns the product's rules with shorter minutes, and onceBroken.
func shortRules(t *testing.T) []byte {
	t.Helper()
	content, err := rules.RulesFile(append(rules.Components(), rules.WithoutExporter()))
	require.NoError(t, err)
	var file map[string]any
	short := minutes.ReplaceAllStringFunc(string(content), func(duration string) string {
		count, err := strconv.Atoi(strings.TrimSuffix(duration, "m"))
		require.NoError(t, err)
		return fmt.Sprintf("%dms", count*int(minute.Milliseconds()))
	})
	require.NoError(t, yaml.Unmarshal([]byte(short), &file))
	file["groups"] = append(file["groups"].([]any), map[string]any{
		"name": "once-broken", "rules": []any{map[string]any{"record": "once:broken", "expr": onceBroken}},
	})
	content, err = yaml.Marshal(file)
	require.NoError(t, err)
	return content
}

// Whatever pages say, no rule and no panel fails, and alerts about other VMs are as without those
// pages: with our scrape configuration, and without its rules for pages.
func TestNoPageHarmsTheRules(t *testing.T) {
	pods := append(honest(), forged(t)...)
	var turned atomic.Bool
	server := httptest.NewServer(answers(pods, &turned))
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	start := func(change func(vms map[string]any)) prometheus {
		vms := scrapeVMs(t, address, pods)
		change(vms)
		jobs := append([]any{vms}, slices.Collect(maps.Values(others(address)))...)
		return startPrometheus(t, map[string]any{
			"global":         map[string]any{"scrape_interval": "1s", "evaluation_interval": "500ms", "external_labels": map[string]any{"cluster": "prod-a"}},
			"scrape_configs": jobs,
		}, shortRules(t))
	}
	walls := map[string]prometheus{
		"with our scrape configuration": start(func(map[string]any) {}),
		"without its rules for pages":   start(func(vms map[string]any) { delete(vms, "metric_relabel_configs") }),
	}
	for _, p := range walls {
		awaitHistory(t, p)
	}
	turned.Store(true)
	for name, p := range walls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireAlerts(t, p)
			requireEvaluates(t, p)
			requirePanels(t, p)
			broken := p.ruleErrors(t)["once-broken/once:broken"]
			if name == "with our scrape configuration" {
				require.Empty(t, broken, "no twin came through")
				requireClosed(t, p)
			} else {
				require.Contains(t, broken, "many-to-many matching not allowed", "the pages harm what can be harmed")
			}
		})
	}
}

// alertText is an alert with the labels of its series, in short.
func alertText(labels map[string]string) string {
	text := fmt.Sprintf("%s %s/%s %s ", labels["alertname"], labels["namespace"], labels["name"], labels["node"])
	var more []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		switch label {
		case "__name__", "alertname", "alertstate", "namespace", "name", "node", "hypervisor_type":
		case "severity", "operator_health_impact", "kubernetes_operator_part_of", "kubernetes_operator_component": // of the rule
		default:
			more = append(more, labels[label])
		}
	}
	return strings.TrimPrefix(text, "/") + strings.Join(more, " ")
}

// patience bounds the wait for the alerts, of which the slowest takes 5 s on a quiet machine.
const patience = 4 * time.Minute

// awaitHistory waits until Prometheus knows that node-3 had KVM.
func awaitHistory(t *testing.T, p prometheus) {
	t.Helper()
	testkit.Eventually(t, func() error {
		seen, err := p.query(`present_over_time(` + rules.Newest + `{node="node-3",hypervisor_type="kvm"}[1d:7500ms])`)
		if err == nil && len(seen) != 2 {
			err = fmt.Errorf("%d VMs of node-3 on KVM", len(seen))
		}
		return err
	})
}

// requireAlerts waits until the alerts that fire are the wanted ones, those about tenants' own VMs left out, and then
// until all rules were evaluated four times more: a wrong alert takes no longer to fire than the right ones did.
func requireAlerts(t *testing.T, p prometheus) {
	t.Helper()
	want := wanted()
	slices.Sort(want)
	var got []string
	equal := func() error {
		samples, err := p.query(`ALERTS{alertstate="firing",namespace!="tenant"}`)
		require.NoError(t, err)
		got = nil
		for _, one := range samples {
			got = append(got, alertText(one.Metric))
		}
		slices.Sort(got)
		if !slices.Equal(want, got) {
			return fmt.Errorf("wanted %q, got %q", want, got)
		}
		return nil
	}
	iterations := func() float64 {
		samples := p.await(t, `min(last_over_time(prometheus_rule_group_iterations_total{rule_group!~".*;once-broken"}[5m]))`, 1)
		value, err := strconv.ParseFloat(samples[0].Value[1].(string), 64)
		require.NoError(t, err)
		return value
	}
	until := math.NaN()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if last = equal(); last != nil {
			until = math.NaN() // a scrape that takes too long on a busy machine ends alerts for a moment
		} else if now := iterations(); math.IsNaN(until) {
			until = now + 4
		} else if now >= until {
			return
		}
	}
	require.Fail(t, "the alerts did not stay as wanted", "%v", last)
}

// requireEvaluates: each rule of ours was evaluated, and not once in vain.
func requireEvaluates(t *testing.T, p prometheus) {
	t.Helper()
	evaluated := p.ruleErrors(t)
	for _, group := range rules.Groups() {
		for _, rule := range group.Alerts {
			require.Contains(t, evaluated, group.Name+"/"+rule.Name)
		}
		for _, rule := range group.Recordings {
			require.Contains(t, evaluated, group.Name+"/"+rule.Name)
		}
	}
	for rule, lastError := range evaluated {
		if !strings.HasPrefix(rule, "once-broken/") {
			require.Empty(t, lastError, rule)
		}
	}
	failures := p.await(t, `last_over_time(prometheus_rule_evaluation_failures_total{job="prometheus",rule_group!~".*;once-broken"}[5m])`, len(rules.Groups()))
	for _, one := range failures {
		require.Equal(t, "0", one.Value[1], one.Metric["rule_group"])
	}
}

// requirePanels: each query of the dashboards has an answer, and counts the honest VMs once each.
func requirePanels(t *testing.T, p prometheus) {
	t.Helper()
	want := map[string]string{"Running VMs": "12", "On emulation": "5", "Type unknown": "2"}
	for _, panel := range dashboards.Panels() {
		for _, query := range panel.Queries {
			for _, selection := range []dashboards.Selection{{}, {Namespace: "tenant", Name: "vm-1"}} {
				_, err := p.query(dashboards.Expand(query.Expr, selection))
				require.NoError(t, err, panel.Title)
			}
		}
		if count, asked := want[panel.Title]; asked {
			testkit.Eventually(t, func() error { // on a busy machine a scrape may be missing
				got, err := p.query(dashboards.Expand(panel.Queries[0].Expr, dashboards.Selection{Namespace: "honest"}))
				if err == nil && (len(got) != 1 || got[0].Value[1] != count) {
					err = fmt.Errorf("%s: %v, want %s", panel.Title, got, count)
				}
				return err
			})
		}
	}
}

// requireClosed: nothing of a page comes through but what a genuine one has.
func requireClosed(t *testing.T, p prometheus) {
	t.Helper()
	const ofVMs = `{job="` + rules.VMsJob + `"}`
	require.Subset(t, slices.Concat(targetLabels, []string{targetCluster}, pageLabels()), p.labelNames(t, "labels", ofVMs))
	require.Empty(t, p.labelNames(t, "label/cluster/values", ofVMs), "no target has one")
	require.Equal(t, []string{"="}, p.labelNames(t, "label/"+targetCluster+"/values", ofVMs))
	metrics := []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}
	for _, shape := range exposition.Shapes() {
		metrics = append(metrics, shape.Metric)
	}
	require.ElementsMatch(t, metrics, p.labelNames(t, "label/__name__/values", ofVMs))
	for _, label := range []string{"hypervisor_type", "domain_type", "arch", "reason"} {
		require.Subset(t, closedValues(label), p.labelNames(t, "label/"+label+"/values", ofVMs), label)
	}
	names := p.labelNames(t, "label/name/values", ofVMs)
	for _, name := range []string{"mine", "spaced", "long", "web"} {
		require.Contains(t, names, name)
	}
	require.NotContains(t, names, "My VM")
	for _, name := range names {
		require.LessOrEqual(t, len(name), 253)
	}
	web := p.await(t, `kubevirt_vmi_hypervisor_info{name="web"}`, 1) // the VM whose template claims that it is web
	require.Equal(t, "virt-launcher-web", web[0].Metric["pod"])
}
