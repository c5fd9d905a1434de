package rules

import "strings"

// evaluation watches the rules themselves. A rule that fails gives no alert, and Prometheus
// says so only in its own metrics. Rules of one group are evaluated on their own, so that
// this one goes on whatever another does.
func evaluation(watched ...Group) Group {
	return Group{Name: "hypervisor-exporter-rules", Alerts: []Alert{rulesFailing(watched)}}
}

// rulesFailing asks for two failures, since a single one can be a query that timed out.
// Prometheus names a group by its file, a semicolon, and the name.
func rulesFailing(watched []Group) Alert {
	var names []string
	for _, group := range watched {
		names = append(names, group.Name)
	}
	return Alert{
		Name: "HypervisorExporterRulesFailing",
		Expr: `max by (cluster, group) (
  label_replace(
    increase(prometheus_rule_evaluation_failures_total{` + NotVMs + `,rule_group=~".*;(` + strings.Join(names, "|") + `)"}[15m]),
    "group", "$1", "rule_group", ".*;(.+)"
  )
) >= 2`,
		Severity:    Warning,
		Summary:     "Prometheus cannot evaluate a rule of the hypervisor exporter.",
		Description: `Prometheus failed about {{ $value | printf "%.0f" }} times in the last 15 minutes to evaluate a rule of the group {{ $labels.group }}. Alerts and panels that depend on it show nothing meanwhile.`,
		Why:         "Silent if Prometheus does not scrape itself.",
	}
}
