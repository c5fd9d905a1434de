package scrape

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/monitoring/dashboards"
	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// asked is how rules and dashboard ask for a metric.
type asked struct {
	// satisfied are labels that pass the matchers of at least one selector.
	satisfied map[string]string
	// labels are those of matchers, and those by which an expression with the metric joins or aggregates.
	labels map[string]bool
}

// expressions are those of all rules, and of all panels with the variables filled in.
func expressions() []string {
	var all []string
	for _, one := range rules.Recordings() {
		all = append(all, one.Expr)
	}
	for _, one := range rules.Alerts() {
		all = append(all, one.Expr)
	}
	for _, panel := range dashboards.Panels() {
		for _, query := range panel.Queries {
			all = append(all, dashboards.Expand(query.Expr, dashboards.Selection{}))
		}
	}
	return all
}

// selectors reads, out of the expressions, every metric that is asked for. A page can send a
// series of any of these names.
func selectors(t *testing.T) map[string]asked {
	t.Helper()
	metrics := map[string]asked{}
	for _, expr := range expressions() {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err, expr)
		joined := map[string]bool{}
		var found []*parser.VectorSelector
		parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.BinaryExpr:
				if n.VectorMatching != nil {
					for _, label := range append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...) {
						joined[label] = true
					}
				}
			case *parser.AggregateExpr:
				for _, label := range n.Grouping {
					joined[label] = true
				}
			case *parser.VectorSelector:
				found = append(found, n)
			}
			return nil
		})
		for _, selector := range found {
			one, known := metrics[selector.Name]
			if !known {
				one = asked{satisfied: map[string]string{}, labels: map[string]bool{}}
			}
			maps.Copy(one.labels, joined)
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name == "__name__" || matcher.Name == "job" {
					continue
				}
				one.labels[matcher.Name] = true
				if value, ok := satisfying(matcher); ok {
					one.satisfied[matcher.Name] = value
				}
			}
			metrics[selector.Name] = one
		}
	}
	return metrics
}

// satisfying is a value that the matcher lets pass.
func satisfying(matcher *labels.Matcher) (string, bool) {
	for _, value := range append(closedValues(matcher.Name), matcher.Value, strings.Split(matcher.Value, "|")[0], "x;hypervisor-exporter-vms", "running", "other") {
		if value != "" && matcher.Matches(value) {
			return value, true
		}
	}
	return "", false
}

// closedValues are those that a label of a genuine page has.
func closedValues(label string) []string {
	values, _ := exposition.Values(label)
	return values
}

// series writes a sample.
func series(metric string, all map[string]string, value string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, all[name]))
	}
	return fmt.Sprintf("%s{%s} %s", metric, strings.Join(pairs, ","), value)
}

var oddValues = []string{"NaN", "+Inf", "-Inf", "1e300", "-1e300", "0"}

// A forgery is a page of a tenant's emulated VM, which shares a node with an honest one, changed in one way.
type forgery struct {
	what    string
	changed map[string]string // a metric of the genuine page, and its line instead
	more    []string          // further lines
}

// forgeries returns one for each thing that a page can do to the metric.
func forgeries(metric string, one asked) []forgery {
	genuine := emulated().lines()
	with := func(pairs ...string) map[string]string {
		all := maps.Clone(one.satisfied)
		if metric == "kubevirt_vmi_hypervisor_domain_info" {
			all["arch"] = "x86_64"
		}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	all := []forgery{{what: "one more label", more: []string{
		series(metric, with("cluster", "prod-b"), "1"), series(metric, with("replica", "b"), "2"),
		series(metric, with("target_cluster", "=prod-b"), "1"), series(metric, with("exported_cluster", "prod-b"), "1")}}}
	for _, label := range slices.Sorted(maps.Keys(one.labels)) {
		all = append(all, forgery{what: "two " + label, more: []string{
			series(metric, with(label, "a"), "1"), series(metric, with(label, "b"), "2")}})
		var each []string
		for _, value := range closedValues(label) {
			each = append(each, series(metric, with(label, value), "1"))
		}
		all = append(all, forgery{what: "every " + label, more: each})
	}
	twins := forgery{what: "odd values beside it"}
	for i, value := range oddValues {
		twins.more = append(twins.more, series(metric, with("x", fmt.Sprint(i)), value))
		if line, ours := genuine[metric]; ours {
			labels, _, _ := strings.Cut(line, " ")
			all = append(all, forgery{what: value, changed: map[string]string{metric: labels + " " + value}})
		}
	}
	return append(all, twins)
}

// forged returns tenants' pods. In a soak, each page has one forgery; otherwise one page has all that add lines to a metric,
// and one all metrics with the same odd value.
func forged(t *testing.T) []pod {
	t.Helper()
	pages := map[string]forgery{"the two series that ended a rule": {more: []string{
		`hypervisor_exporter_last_change_timestamp_seconds{hypervisor_type="a"} 1`,
		`hypervisor_exporter_last_change_timestamp_seconds{hypervisor_type="b"} 2`,
	}}}
	for metric, one := range selectors(t) {
		for _, forgery := range forgeries(metric, one) {
			key := metric
			switch {
			case testkit.Soak():
				key += " with " + forgery.what
			case metric == "kubevirt_vmi_hypervisor_info" && forgery.changed != nil:
				key += " " + forgery.what // it would hide the others: the rules select only 1
			case forgery.changed != nil:
				key = forgery.what
			}
			page := pages[key]
			if page.changed == nil {
				page.changed = map[string]string{}
			}
			maps.Copy(page.changed, forgery.changed)
			page.more = append(page.more, forgery.more...)
			pages[key] = page
		}
	}
	var pods []pod
	for _, what := range slices.Sorted(maps.Keys(pages)) {
		genuine := emulated().lines()
		maps.Copy(genuine, pages[what].changed)
		text := page(genuine, append([]string{"# " + what}, pages[what].more...)...)
		name := fmt.Sprintf("vm-%d", len(pods))
		pods = append(pods, pod{namespace: "tenant", name: "virt-launcher-" + name, node: "node-2", vm: name,
			page: func(moment) string { return text }})
	}
	long := pods[0]
	long.name, long.vm = "long-reference", strings.Repeat("x", 250_000)
	return append(pods, long)
}
