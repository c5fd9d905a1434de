package checks

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// panel is a panel of the dashboard, as its JSON has it.
type panel struct {
	Type, Title string
	Targets     []struct {
		Expr    string
		Instant bool
	}
}

// checkDashboard asks Prometheus for every query of the dashboard, as Grafana does with all namespaces and nodes chosen,
// and fails where one has no answer that a panel can draw. Some VM has to be emulated.
func (w *world) checkDashboard(t *testing.T) {
	w.askWrongly(t) // so that the panel of rejected requests has something to show
	text, err := os.ReadFile(filepath.Join(product(t), "manifests/monitoring/dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	for _, variable := range dashboard.Templating.List {
		if variable.Type == "query" {
			w.requireChoices(t, variable.Name, variable.Query)
		}
	}
	queries := 0
	for _, p := range dashboard.Panels {
		if p.Type != "row" {
			require.NotEmpty(t, p.Targets, p.Title)
		}
		for _, target := range p.Targets {
			queries++
			w.requireAnswer(t, p.Title, chooseAll(target.Expr), target.Instant)
		}
	}
	require.NotZero(t, queries)
	t.Logf("%d queries", queries)
}

// chooseAll puts values in place of Grafana's variables: all for a choice (allValue), and the least that Grafana takes
// for a rate with its own setting of 15 s for the data source.
func chooseAll(expr string) string {
	return strings.NewReplacer("$namespace", ".*", "$node", ".*", "$__rate_interval", "1m").Replace(expr)
}

func (w *world) requireAnswer(t *testing.T, title, expr string, instant bool) {
	t.Helper()
	ask := func(ctx context.Context) ([]series, error) { return w.overMinutes(ctx, expr) }
	if instant {
		ask = func(ctx context.Context) ([]series, error) { return w.Query(ctx, expr) }
	}
	// A rate over what has just begun takes a scrape more.
	eventually(t, time.Minute, "data for "+title+": "+expr, func(ctx context.Context) error {
		found, err := ask(ctx)
		if err == nil && !drawable(found) {
			err = errors.New("none")
		}
		return err
	})
}

// overMinutes are the values of the last minutes, of a graph.
func (w *world) overMinutes(ctx context.Context, expr string) ([]series, error) {
	var answer struct{ Result []series }
	now := time.Now()
	second := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	return answer.Result, w.AskPrometheus(ctx, &answer, "query_range", "query", expr,
		"start", second(now.Add(-5*time.Minute)), "end", second(now), "step", "15")
}

// drawable says whether there is a number among the values.
func drawable(found []series) bool {
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
func (w *world) requireChoices(t *testing.T, name, query string) {
	t.Helper()
	parts := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(chooseAll(query))
	require.NotNil(t, parts, "variable %s: %s", name, query)
	var values []string
	require.NoError(t, w.AskPrometheus(t.Context(), &values, "label/"+parts[2]+"/values", "match[]", parts[1]))
	require.NotEmpty(t, values, "variable %s: %s", name, query)
}
