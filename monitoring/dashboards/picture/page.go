package main

import (
	"fmt"
	"html"
	"math"
	"regexp"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/monitoring/dashboards"
	"kubevirt-hypervisor-exporter/monitoring/dashboards/promtest"
)

const (
	pageWidth  = 1280
	unitHeight = 26 // pixels of one unit of Grafana's grid
	gap        = 8
)

const style = `<!doctype html><meta charset="utf-8"><style>
body{margin:0;padding:8px;background:#f4f5f5;font:12px "DejaVu Sans",sans-serif;color:#24292e}
h1{font-size:17px;margin:4px 0 8px}h2{font-size:13px;margin:0;padding:0 2px;position:absolute}
.panel{position:absolute;background:#fff;border:1px solid #dcdfe3;border-radius:2px;box-sizing:border-box;padding:5px 8px;overflow:hidden}
.title{font-weight:bold;font-size:11px;white-space:nowrap}.stat{font-size:30px;text-align:center;position:absolute;left:0;right:0;top:50%;transform:translateY(-35%)}
table{border-collapse:collapse;width:100%;font-size:11px}td,th{text-align:left;padding:2px 6px;border-bottom:1px solid #e6e8eb}
.bar{height:13px}.key{display:inline-block;width:9px;height:9px;margin:0 3px 0 10px}.legend{font-size:10px}a{color:#1f60c4}
</style><body>`

// render draws all panels where Grafana's grid has them; it also gives the page's height.
func render(server *promtest.Server) (string, int, error) {
	var out strings.Builder
	out.WriteString(style + "<h1>KubeVirt / Hypervisor</h1>")
	top := 40
	for _, row := range dashboards.Rows() {
		fmt.Fprintf(&out, `<h2 style="left:10px;top:%dpx">%s</h2>`, top, html.EscapeString(row.Title))
		top += 22
		left, tallest := uint32(0), uint32(0)
		for _, panel := range row.Panels {
			if left+panel.Width > 24 {
				top += int(tallest) * unitHeight
				left, tallest = 0, 0
			}
			if err := place(&out, server, panel, left, top); err != nil {
				return "", 0, fmt.Errorf("panel %q: %w", panel.Title, err)
			}
			left, tallest = left+panel.Width, max(tallest, panel.Height)
		}
		top += int(tallest)*unitHeight + 6
	}
	return out.String(), top + gap, nil
}

func place(out *strings.Builder, server *promtest.Server, panel dashboards.Panel, left uint32, top int) error {
	const column = (pageWidth - 2*gap) / 24.
	width, height := column*float64(panel.Width)-gap, float64(panel.Height)*unitHeight-gap
	fmt.Fprintf(out, `<div class="panel" style="left:%.0fpx;top:%dpx;width:%.0fpx;height:%.0fpx"><div class="title">%s</div>`,
		gap+column*float64(left), top, width, height, html.EscapeString(panel.Title))
	var all []named
	for _, query := range panel.Queries {
		ask := server.Over
		if panel.Kind.AtOnce() {
			ask = server.Now
		}
		series, err := ask(dashboards.Expand(query.Expr, "", ""))
		if err != nil {
			return err
		}
		for _, one := range series {
			all = append(all, named{called(query.Legend, one.Labels), one})
		}
	}
	switch panel.Kind {
	case dashboards.Stat:
		drawStat(out, panel, all)
	case dashboards.Bars:
		drawBars(out, panel, all)
	case dashboards.Table:
		drawTable(out, panel, all)
	case dashboards.Lines, dashboards.Areas:
		drawTime(out, panel, all, server.End, width-16, height-50)
	}
	out.WriteString("</div>")
	return nil
}

type named struct {
	name string
	promtest.Series
}

var placeholder = regexp.MustCompile(`{{(\w+)}}`)

func called(legend string, labels map[string]string) string {
	return placeholder.ReplaceAllStringFunc(legend, func(part string) string { return labels[part[2:len(part)-2]] })
}

// format writes a value as Grafana does with that unit, roughly.
func format(value float64, unit string) string {
	switch {
	case unit == dashboards.Share:
		return fmt.Sprintf("%.1f %%", value*100)
	case unit == dashboards.Seconds && value >= 86400:
		return fmt.Sprintf("%.1f days", value/86400)
	case unit == dashboards.Seconds:
		return fmt.Sprintf("%.3g ms", value*1000)
	case unit == dashboards.Rate:
		return fmt.Sprintf("%.3g c/s", value)
	case value == math.Trunc(value):
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.3g", value)
}

func clock(at time.Time) string { return at.Format("15:04") }
