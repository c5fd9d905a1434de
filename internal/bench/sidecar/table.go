package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// A unit says how a value is written.
type unit int

const (
	count unit = iota
	microseconds
	milliseconds
	mebibytes
	megabytes
)

// format writes a value: times are in seconds, sizes in bytes.
func (u unit) format(value float64) string {
	if math.IsNaN(value) {
		return "–"
	}
	switch u {
	case microseconds:
		return fmt.Sprintf("%.0f µs", value*1e6)
	case milliseconds:
		return fmt.Sprintf("%.1f ms", value*1e3)
	case mebibytes:
		return fmt.Sprintf("%.2f MiB", value/(1<<20))
	case megabytes:
		return fmt.Sprintf("%.2f MB", value/1e6)
	case count:
		return fmt.Sprintf("%.0f", value)
	default:
		return fmt.Sprint(value)
	}
}

// none is a value that was not measured.
var none = math.NaN()

// A row is one measure of all programs, with what the sidecar may come to.
type row struct {
	measure string
	unit    unit
	// values are those of the sidecar, floor and mini; missing ones are none.
	values []float64
	target target
	// failed tells why there is no value.
	failed error
}

// A target bounds the sidecar's value: by limit, or by times the floor's value.
// The zero value bounds nothing.
type target struct {
	limit  float64
	times  float64
	strict bool
	zero   bool
}

func atMost(limit float64) target     { return target{limit: limit, zero: limit == 0} }
func below(limit float64) target      { return target{limit: limit, strict: true} }
func timesFloor(times float64) target { return target{times: times} }

func (r row) value(i int) float64 {
	if i < len(r.values) {
		return r.values[i]
	}
	return none
}

// bound writes the target, and gives its value.
func (r row) bound() (string, float64) {
	t := r.target
	switch {
	case t.times > 0:
		limit := t.times * r.value(1)
		return fmt.Sprintf("≤ %.1f × floor = %s", t.times, r.unit.format(limit)), limit
	case t.strict:
		return "< " + r.unit.format(t.limit), t.limit
	case t.limit > 0 || t.zero:
		return "≤ " + r.unit.format(t.limit), t.limit
	default:
		return "", none
	}
}

func (r row) verdict() string {
	_, limit := r.bound()
	value := r.value(0)
	switch {
	case math.IsNaN(limit):
		return ""
	case math.IsNaN(value):
		return "not measured"
	case value < limit, value == limit && !r.target.strict:
		return "ok"
	case r.target.times > 0:
		return fmt.Sprintf("over (%.2f × floor)", value/r.value(1))
	default:
		return "over"
	}
}

// write writes the table, and below it what could not be measured.
func write(w io.Writer, rows []row) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\tsidecar\tfloor\tmini\ttarget\tverdict")
	var failures []string
	for _, r := range rows {
		bound, _ := r.bound()
		cells := []string{r.measure, r.unit.format(r.value(0)), r.unit.format(r.value(1)), r.unit.format(r.value(2)), bound, r.verdict()}
		if r.failed != nil {
			cells[5] = "not measured"
			failures = append(failures, fmt.Sprintf("%s: %v", r.measure, r.failed))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, failure := range failures {
		fmt.Fprintln(w, "\nnot measured:", failure)
	}
	return nil
}

// median is the middle value, or none of none.
func median[T ~int64 | ~float64](values []T) float64 {
	if len(values) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return float64(sorted[middle])
	}
	return (float64(sorted[middle-1]) + float64(sorted[middle])) / 2
}
