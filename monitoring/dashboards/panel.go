// Package dashboards is the source of the Grafana dashboard. Panels are plain values, from which the JSON for Grafana
// and the tests take the same queries.
package dashboards

import "strings"

// Kind is how a panel shows its data.
type Kind string

const (
	// Stat is one number, the newest.
	Stat Kind = "stat"
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
func (k Kind) Instant() bool { return k == Stat || k == Bars || k == Table }

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

// Rows is the whole dashboard.
func Rows() []Row {
	return []Row{fleet(), emulated(), stopped(), nodes(), health(), webhook(), relay()}
}

// Expand replaces Grafana's variables with values; an empty value means all.
func Expand(expr, cluster, namespace, node string) string {
	for _, value := range []*string{&cluster, &namespace, &node} {
		if *value == "" {
			*value = ".*"
		}
	}
	return strings.NewReplacer("$cluster", cluster, "$namespace", namespace, "$node", node, "$__rate_interval", "5m").Replace(expr)
}
