package checks

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// checkDashboard sends Prometheus every query of the dashboards, as Grafana does with all namespaces and nodes chosen and, on the
// page of one VM, this VM. It fails where one has no answer that a panel can draw. The VM has to be emulated.
func (f *framework) checkDashboard(v vm) {
	f.sendWrongRequest() // so that the panel of rejected requests has something to show
	f.checkPage("dashboard.json", chooseAll)
	f.checkPage("dashboard-vm.json", func(expr string) string {
		return chooseAll(strings.NewReplacer("$namespace", v.namespace, "$name", v.name).Replace(expr))
	})
}

func (f *framework) checkPage(file string, choose func(expr string) string) {
	text, err := os.ReadFile(filepath.Join(product(f.t), "manifests/monitoring", file))
	f.must(err)
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct {
				Expr    string
				Instant bool
			}
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	f.must(json.Unmarshal(text, &dashboard))
	for _, variable := range dashboard.Templating.List {
		if variable.Type == "query" && variable.Name != "cluster" { // a Prometheus of one cluster has no such label
			f.requireChoices(variable.Name, choose(variable.Query))
		}
	}
	queries := 0
	for _, p := range dashboard.Panels {
		if p.Type != "row" {
			require.NotEmpty(f.t, p.Targets, p.Title)
		}
		for _, target := range p.Targets {
			queries++
			expr := choose(target.Expr)
			query := f.overMinutes
			if target.Instant {
				query = f.Query
			}
			// A rate over what has just begun takes a scrape more.
			f.until("data for "+p.Title+": "+expr, func() bool {
				found, err := query(f.ctx, expr)
				f.must(err)
				return drawable(found)
			}, nil)
		}
	}
	require.NotZero(f.t, queries)
	f.t.Logf("%s: %d queries", file, queries)
}

// chooseAll replaces Grafana's variables by values: all for a choice (allValue), and the least that Grafana takes for a
// rate with its own setting of 15 s for the data source.
func chooseAll(expr string) string {
	return strings.NewReplacer("$cluster", ".*", "$namespace", ".*", "$node", ".*", "$__rate_interval", "1m").Replace(expr)
}

// overMinutes are the values of the last minutes, of a graph.
func (f *framework) overMinutes(ctx context.Context, expr string) ([]cluster.Series, error) {
	var answer struct{ Result []cluster.Series }
	now := time.Now()
	second := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	return answer.Result, f.AskPrometheus(ctx, &answer, "query_range", "query", expr,
		"start", second(now.Add(-5*time.Minute)), "end", second(now), "step", "15")
}

// drawable reports whether there is a number among the values.
func drawable(found []cluster.Series) bool {
	for _, s := range found {
		for _, sample := range append(s.Values, s.Value) {
			if sample[1] != nil && sample[1] != "NaN" {
				return true
			}
		}
	}
	return false
}

// requireChoices fails where a variable offers nothing.
func (f *framework) requireChoices(name, query string) {
	parts := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(query)
	require.NotNil(f.t, parts, "variable %s: %s", name, query)
	var values []string
	f.must(f.AskPrometheus(f.ctx, &values, "label/"+parts[2]+"/values", "match[]", parts[1]))
	require.NotEmpty(f.t, values, "variable %s: %s", name, query)
}
