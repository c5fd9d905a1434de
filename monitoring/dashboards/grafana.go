package dashboards

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// Grafana returns the dashboard as JSON that Grafana imports.
func (p Page) Grafana() ([]byte, error) {
	builder := dashboard.NewDashboardBuilder(p.Title).
		Uid(p.UID).
		Description(p.Description).
		Tags([]string{"kubevirt"}).
		Time("now-6h", "now").
		Refresh("1m").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Alerts and runbooks").Type(dashboard.DashboardLinkTypeLink).
			Url(rules.Docs + "/alerts.md").Icon("doc").TargetBlank(true))
	for _, variable := range p.Variables {
		builder.WithVariable(variable)
	}
	for _, row := range p.Rows {
		builder.WithRow(dashboard.NewRowBuilder(row.Title))
		for _, panel := range row.Panels {
			builder.WithPanel(grafanaPanel(panel))
		}
	}
	built, err := builder.Build()
	if err != nil {
		return nil, fmt.Errorf("build the dashboard: %w", err)
	}
	number(built.Panels)
	content, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the dashboard: %w", err)
	}
	return append(content, '\n'), nil
}

// number gives each row and panel its own id, by which Grafana links to it.
func number(panels []dashboard.PanelOrRowPanel) {
	for i := range panels {
		id := uint32(i + 1)
		if panels[i].RowPanel != nil {
			panels[i].RowPanel.Id = id
		} else {
			panels[i].Panel.Id = &id
		}
	}
}

func grafanaPanel(p Panel) cog.Builder[dashboard.Panel] {
	switch p.Kind {
	case Stat:
		return statPanel(p)
	case Words:
		return statPanel(p).TextMode(common.BigValueTextModeName).ColorMode(common.BigValueColorModeNone)
	case Timeline:
		return timelinePanel(p)
	case Lines, Areas:
		return timePanel(p)
	case Bars:
		return barPanel(p)
	case Table:
		return tablePanel(p)
	}
	panic("no such kind of panel: " + string(p.Kind))
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// runbooks links the panel to what to do about it.
func runbooks(p Panel) []cog.Builder[dashboard.DashboardLink] {
	var links []cog.Builder[dashboard.DashboardLink]
	for _, alert := range p.Alerts {
		links = append(links, dashboard.NewDashboardLinkBuilder("Runbook: "+alert).Type(dashboard.DashboardLinkTypeLink).
			Url(rules.RunbookURL(alert)).TargetBlank(true))
	}
	return links
}

func targets(p Panel) []cog.Builder[variants.Dataquery] {
	var all []cog.Builder[variants.Dataquery]
	for i, query := range p.Queries {
		target := prometheus.NewDataqueryBuilder().Expr(query.Expr).RefId(string(rune('A' + i)))
		if query.Legend != "" {
			target.LegendFormat(query.Legend)
		}
		if p.Kind.Instant() {
			target.Instant()
		} else {
			target.Range()
		}
		if p.Kind == Table {
			target.Format(prometheus.PromQueryFormatTable)
		}
		all = append(all, target)
	}
	return all
}

func newestValue() *common.ReduceDataOptionsBuilder {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})
}

func statPanel(p Panel) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(p.Title).Description(p.Description).Links(runbooks(p)).Datasource(source()).
		Span(p.Width).Height(p.Height).Unit(p.Unit).Targets(targets(p)).
		ReduceOptions(newestValue()).GraphMode(common.BigValueGraphModeNone).
		NoValue("no data").Thresholds(limits(p))
}

// limits colours a stat: green, and red where it is bad.
func limits(p Panel) *dashboard.ThresholdsConfigBuilder {
	low, high := "green", "red"
	if p.LowIsBad {
		low, high = "red", "green"
	}
	steps := []dashboard.Threshold{{Color: low}}
	if p.Bad > 0 {
		steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(p.Bad), Color: high})
	} else {
		steps[0].Color = "text"
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func timePanel(p Panel) cog.Builder[dashboard.Panel] {
	panel := timeseries.NewPanelBuilder().Title(p.Title).Description(p.Description).Links(runbooks(p)).Datasource(source()).
		Span(p.Width).Height(p.Height).Unit(p.Unit).Min(0).Targets(targets(p)).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti))
	if p.Kind == Areas {
		panel.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for _, series := range []struct{ name, color string }{{"kvm", "green"}, {"qemu-tcg", "red"}, {"unknown", "orange"}} {
		panel.OverrideByName(series.name, []dashboard.DynamicConfigValue{
			{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": series.color}},
		})
	}
	return panel
}

func timelinePanel(p Panel) cog.Builder[dashboard.Panel] {
	return statetimeline.NewPanelBuilder().Title(p.Title).Description(p.Description).Links(runbooks(p)).Datasource(source()).
		Span(p.Width).Height(p.Height).Targets(targets(p)).ShowValue(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(false))
}

func barPanel(p Panel) cog.Builder[dashboard.Panel] {
	return bargauge.NewPanelBuilder().Title(p.Title).Description(p.Description).Links(runbooks(p)).Datasource(source()).
		Span(p.Width).Height(p.Height).Unit(p.Unit).Min(0).Targets(targets(p)).
		ReduceOptions(newestValue()).Orientation(common.VizOrientationHorizontal).
		DisplayMode(common.BarGaugeDisplayModeBasic).Thresholds(limits(p))
}

func tablePanel(p Panel) cog.Builder[dashboard.Panel] {
	hidden, order := map[string]bool{"Time": true, "Value": true, "__name__": true, "hypervisor_type": true}, map[string]int{}
	for i, column := range p.Columns {
		order[column] = i
	}
	panel := table.NewPanelBuilder().Title(p.Title).Description(p.Description).Links(runbooks(p)).Datasource(source()).
		Span(p.Width).Height(p.Height).Targets(targets(p)).
		WithTransformation(dashboard.DataTransformerConfig{
			Id: "organize", Options: map[string]any{"excludeByName": hidden, "indexByName": order},
		})
	links := tableLinks()
	for _, column := range p.Columns {
		if links[column] != nil {
			panel.OverrideByName(column, []dashboard.DynamicConfigValue{{Id: "links", Value: links[column]}})
		}
	}
	return panel
}
