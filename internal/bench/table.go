package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// unit writes a value: times are in seconds, sizes in bytes.
type unit func(float64) string

func micro(v float64) string     { return fmt.Sprintf("%.0f µs", v*1e6) }
func mebibytes(v float64) string { return fmt.Sprintf("%.2f MiB", v/(1<<20)) }
func megabytes(v float64) string { return fmt.Sprintf("%.2f MB", v/1e6) }
func percent(v float64) string   { return fmt.Sprintf("%.2f %%", 100*v) }
func count(v float64) string     { return fmt.Sprintf("%.0f", v) }

// table collects samples; its rows are measures, its columns programs.
type table struct {
	columns []string
	rows    []*row
}

// row has the samples of one measure, a slice for each column.
type row struct {
	measure string
	unit    unit
	samples [][]float64
}

func newTable(columns []string) *table { return &table{columns: columns} }

// add adds a sample. Rows are in the order of their first samples.
func (t *table) add(column int, measure string, unit unit, value float64) {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.measure == measure })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{measure, unit, make([][]float64, len(t.columns))})
	}
	t.rows[i].samples[column] = append(t.rows[i].samples[column], value)
}

// addMemory adds the memory of all servers, which are in the order of the columns.
func (t *table) addMemory(when string, servers []*server) error {
	for column, s := range servers {
		r, err := read(s.pid)
		if err != nil {
			return err
		}
		t.add(column, "RssAnon "+when, mebibytes, r.anonymous)
		t.add(column, "VmRSS "+when, mebibytes, r.resident)
	}
	return nil
}

// write writes the medians; a program without a sample has a dash.
func (t *table) write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "measure\t"+strings.Join(t.columns, "\t"))
	for _, r := range t.rows {
		cells := []string{r.measure}
		for _, samples := range r.samples {
			if len(samples) == 0 {
				cells = append(cells, "–")
				continue
			}
			cells = append(cells, r.unit(median(samples)))
		}
		fmt.Fprintln(out, strings.Join(cells, "\t"))
	}
	return out.Flush()
}

// median returns the middle value of at least one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// quantile returns a quantile of at least one duration, in seconds.
func quantile(took []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(q*float64(len(sorted)-1))].Seconds()
}
