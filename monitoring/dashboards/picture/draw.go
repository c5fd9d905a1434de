package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/monitoring/dashboards"
	"kubevirt-hypervisor-exporter/monitoring/dashboards/promtest"
)

func drawStat(out *strings.Builder, panel dashboards.Panel, all []named) {
	text, color := "no data", "#24292e"
	if len(all) > 0 {
		value := all[0].Points[0].Value
		text = format(value, panel.Unit)
		if panel.Bad > 0 {
			color = "#1a7f37"
			if (value >= panel.Bad) != panel.LowIsBad {
				color = "#c4162a"
			}
		}
	}
	fmt.Fprintf(out, `<div class="stat" style="color:%s">%s</div>`, color, text)
}

func drawBars(out *strings.Builder, panel dashboards.Panel, all []named) {
	largest := 0.
	for _, one := range all {
		largest = max(largest, one.Points[0].Value)
	}
	out.WriteString("<table>")
	for _, one := range all {
		value := one.Points[0].Value
		fmt.Fprintf(out, `<tr><td style="white-space:nowrap;width:1%%">%s</td><td><div class="bar" style="width:%.0f%%;background:%s"></div></td><td style="width:1%%">%s</td></tr>`,
			html.EscapeString(one.name), 100*value/largest, color(strings.TrimPrefix(one.name, one.Labels["node"]+" "), 2), format(value, panel.Unit))
	}
	out.WriteString("</table>")
}

func drawTable(out *strings.Builder, panel dashboards.Panel, all []named) {
	linked := map[string]bool{"namespace": true, "name": true, "node": true}
	slices.SortFunc(all, func(a, b named) int {
		return strings.Compare(a.Labels["namespace"]+a.Labels["name"], b.Labels["namespace"]+b.Labels["name"])
	})
	out.WriteString("<table><tr>")
	for _, column := range panel.Columns {
		fmt.Fprintf(out, "<th>%s</th>", column)
	}
	for _, one := range all {
		out.WriteString("</tr><tr>")
		for _, column := range panel.Columns {
			text := html.EscapeString(one.Labels[column])
			if linked[column] {
				text = "<a href=#>" + text + "</a>"
			}
			fmt.Fprintf(out, "<td>%s</td>", text)
		}
	}
	out.WriteString("</tr></table>")
}

// drawTime draws lines, or areas on top of each other, with an axis on the left.
func drawTime(out *strings.Builder, panel dashboards.Panel, all []named, end time.Time, width, height float64) {
	const axis = 62.
	stacked := panel.Kind == dashboards.Areas
	floor, top := map[int64]float64{}, 0.
	for _, one := range all {
		for _, p := range one.Points {
			if math.IsNaN(p.Value) {
				continue
			}
			if stacked {
				floor[p.At.Unix()] += p.Value
				top = max(top, floor[p.At.Unix()])
			} else {
				top = max(top, p.Value)
			}
		}
	}
	top = round(top)
	x := func(at time.Time) float64 {
		return axis + (width-axis-4)*(1-end.Sub(at).Seconds()/promtest.History.Seconds())
	}
	y := func(value float64) float64 { return 4 + (height-20)*(1-value/top) }
	fmt.Fprintf(out, `<svg width="%.0f" height="%.0f" font-size="10" style="margin-top:7px;overflow:visible">`, width, height)
	for i := range 5 {
		value := top * float64(i) / 4
		fmt.Fprintf(out, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#e6e8eb"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
			axis, width-4, y(value), y(value), axis-4, y(value)+3, format(value, panel.Unit))
	}
	for hours := 6; hours >= 1; hours-- {
		at := end.Add(-time.Duration(hours) * time.Hour)
		fmt.Fprintf(out, `<text x="%.1f" y="%.1f">%s</text>`, x(at), height-3, clock(at))
	}
	clear(floor)
	for i, one := range all {
		drawSeries(out, one.Points, floor, stacked, color(one.name, i), x, y)
	}
	out.WriteString(`</svg><div class="legend">`)
	for i, one := range all {
		fmt.Fprintf(out, `<span class="key" style="background:%s"></span>%s`, color(one.name, i), html.EscapeString(one.name))
	}
	out.WriteString("</div>")
}

// drawSeries breaks the line where the series was absent.
func drawSeries(out *strings.Builder, points []promtest.Point, floor map[int64]float64, stacked bool, color string,
	x func(time.Time) float64, y func(float64) float64) {
	var upper, lower []string
	var last time.Time
	flush := func() {
		if stacked && len(upper) > 0 {
			slices.Reverse(lower)
			fmt.Fprintf(out, `<polygon points="%s" fill="%s" fill-opacity="0.45"/>`, strings.Join(append(slices.Clone(upper), lower...), " "), color)
		}
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.Join(upper, " "), color)
		upper, lower = nil, nil
	}
	for _, p := range points {
		if math.IsNaN(p.Value) { // a quantile of nothing
			continue
		}
		if !last.IsZero() && p.At.Sub(last) > 5*time.Minute {
			flush()
		}
		last = p.At
		base := 0.
		if stacked {
			base = floor[p.At.Unix()]
			floor[p.At.Unix()] += p.Value
		}
		upper = append(upper, fmt.Sprintf("%.1f,%.1f", x(p.At), y(base+p.Value)))
		lower = append(lower, fmt.Sprintf("%.1f,%.1f", x(p.At), y(base)))
	}
	flush()
}

// round gives the next value that divides well by four.
func round(value float64) float64 {
	if value <= 0 {
		return 1
	}
	magnitude := math.Pow(10, math.Floor(math.Log10(value)))
	for _, step := range []float64{1, 2, 4, 8, 10} {
		if value <= step*magnitude {
			return step * magnitude
		}
	}
	return 10 * magnitude
}

func color(name string, i int) string {
	switch name {
	case "kvm":
		return "#37872d"
	case "qemu-tcg", "on emulation":
		return "#c4162a"
	case "unknown":
		return "#ff9830"
	}
	return []string{"#1f60c4", "#e0b400", "#5794f2", "#8f3bb8", "#ff780a", "#73bf69"}[i%6]
}
