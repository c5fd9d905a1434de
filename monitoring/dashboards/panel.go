// Package dashboards is the source of the Grafana dashboards. Panels are plain values, from which the JSON for Grafana
// and the tests take the same queries.
package dashboards

import "strings"

// Kind is how a panel shows its data.
type Kind string

const (
	// Stat is one number, the newest.
	Stat Kind = "stat"
	// Words is the names of the series, the newest.
	Words Kind = "words"
	// Timeline is one bar for each series, over the times when it is there.
	Timeline Kind = "timeline"
	// Lines is values over time.
	Lines Kind = "lines"
	// Areas is values over time, stacked.
	Areas Kind = "areas"
	// Bars is one bar for each series, the newest values.
	Bars Kind = "bars"
	// Table is one row for each series.
	Table Kind = "table"
)

// Instant reports whether the panel asks for the newest values only.
func (k Kind) Instant() bool { return k == Stat || k == Words || k == Bars || k == Table }

// Units of values, by Grafana's names.
const (
	Number  = "short"
	Share   = "percentunit"
	Seconds = "s"
	Rate    = "cps"
)

// A Query is PromQL with Grafana's variables in it, and the names of its series.
type Query struct {
	Expr   string
	Legend string // Grafana's format, such as {{node}}
}

// A Panel is one panel of the dashboard. Width is of 24, height in rows of Grafana's grid.
type Panel struct {
	Title       string
	Description string
	Kind        Kind
	Unit        string
	Width       uint32
	Height      uint32
	Queries     []Query
	Columns     []string // of a table, in order
	Bad         float64  // of a stat: red from this value on; 0 is never
	LowIsBad    bool     // of a stat: red below Bad
	Alerts      []string // the panel links to their runbooks
}

// A Row is a heading and the panels under it.
type Row struct {
	Title  string
	Panels []Panel
}

// Panels lists the panels of all pages.
func Panels() []Panel {
	var all []Panel
	for _, page := range Pages() {
		for _, row := range page.Rows {
			all = append(all, row.Panels...)
		}
	}
	return all
}

// Selection is what the variables of a page are set to. An empty cluster, namespace or node means all; an empty name is that of
// no VM.
type Selection struct{ Cluster, Namespace, Node, Name string }

// Expand replaces Grafana's variables with values.
func Expand(expr string, s Selection) string {
	for _, value := range []*string{&s.Cluster, &s.Namespace, &s.Node} {
		if *value == "" {
			*value = ".*"
		}
	}
	return strings.NewReplacer("$cluster", s.Cluster, "$namespace", s.Namespace, "$node", s.Node, "$name", s.Name, "$__rate_interval", "5m").Replace(expr)
}
