package dashboards

import "fmt"

// Kind is how a panel shows its data.
type Kind int

const (
	// Stat is one number, the newest.
	Stat Kind = iota
	// Lines is values over time.
	Lines
	// Areas is values over time, on top of each other.
	Areas
	// Bars is one bar for each series, the newest values.
	Bars
	// Table is one row for each series.
	Table
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Stat:
		return "stat"
	case Lines:
		return "lines"
	case Areas:
		return "areas"
	case Bars:
		return "bars"
	case Table:
		return "table"
	}
	return fmt.Sprintf("kind_%d", int(k))
}

// AtOnce is whether the panel asks for the newest values only.
func (k Kind) AtOnce() bool { return k == Stat || k == Bars || k == Table }

// Units of values, by Grafana's names.
const (
	Number  = "short"
	Share   = "percentunit"
	Seconds = "s"
	Rate    = "cps"
)

// A Query is PromQL with Grafana's variables in it, and how its series are called.
type Query struct {
	Expr   string
	Legend string // Grafana's format, such as {{node}}
}

// A Panel is one picture of the dashboard. Width is of 24, height in Grafana's grid.
type Panel struct {
	Title       string
	Description string
	Kind        Kind
	Unit        string
	Width       uint32
	Height      uint32
	Queries     []Query
	Columns     []string // of a table, in order
	Bad         float64  // of a stat: from this value on it is red; 0 is never
	LowIsBad    bool     // of a stat: red below Bad
}

// A Row is a heading and the panels under it.
type Row struct {
	Title  string
	Panels []Panel
}

// Rows is the whole dashboard.
func Rows() []Row {
	return []Row{fleet(), emulated(), nodes(), health(), webhook(), relay()}
}
