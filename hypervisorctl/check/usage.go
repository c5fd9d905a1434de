package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// What check reports of verdicts: which Prometheuses use an object of ours, and why none does. Pure.

// verdict is what a Prometheus makes of an object of ours.
type verdict struct {
	by       *cluster.Prometheus
	problems []problem
}

// level is OK if there is no problem.
func (v verdict) level() Level {
	worst := OK
	for _, one := range v.problems {
		worst = max(worst, one.level)
	}
	return worst
}

// judged is an object of ours with all verdicts about it, the best first.
type judged struct {
	*target
	verdicts []verdict
}

func newJudged(t *target, verdicts []verdict) judged {
	slices.SortStableFunc(verdicts, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.level(), b.level()), cmp.Compare(len(a.problems), len(b.problems)))
	})
	return judged{t, verdicts}
}

// by returns those that use the object without a problem.
func (j judged) by() []*cluster.Prometheus {
	var all []*cluster.Prometheus
	for _, one := range j.verdicts {
		if one.level() == OK {
			all = append(all, one.by)
		}
	}
	return all
}

// mostVerdicts is how many Prometheuses a line explains: a cluster may have one for each tenant.
const mostVerdicts = 3

// explain returns why none of the Prometheuses uses the object, and what to do about the one that lacks least.
func (j judged) explain() (why, fix string) {
	var reasons, fixes []string
	for _, one := range j.verdicts[:min(len(j.verdicts), mostVerdicts)] {
		var texts []string
		for _, problem := range one.problems {
			texts = append(texts, problem.text)
		}
		reasons = append(reasons, one.by.String()+": "+strings.Join(texts, ", "))
	}
	if more := len(j.verdicts) - mostVerdicts; more > 0 {
		reasons = append(reasons, fmt.Sprintf("and %d more", more))
	}
	for _, problem := range j.verdicts[0].problems {
		fixes = append(fixes, problem.fix)
	}
	return strings.Join(reasons, "; "), strings.Join(fixes, "; ")
}

// monitorLines reports which PodMonitors are used. Without the VMs', no VM has a metric, unless something else scrapes them:
// VictoriaMetrics, Alloy and others read PodMonitors, too.
func monitorLines(all []judged, scraped bool) []Line {
	none := warn("create a Prometheus object, or pass the URL of what scrapes the VMs: --prometheus-url",
		"there is no Prometheus and no PrometheusAgent object: not checked what uses these PodMonitors")
	return usageLines(all, "uses these PodMonitors", scraped, none, func(j judged) Level {
		if j.Name == cluster.VMsPodMonitor && !scraped {
			return Fail
		}
		return Warn
	})
}

// ruleLines reports which PrometheusRules are evaluated. A PrometheusAgent evaluates none, so where only agents scrape the
// VMs, no object shows whether they are; what they record does.
func ruleLines(rules, monitors []judged, recorded bool) []Line {
	worst := Fail
	for _, j := range monitors {
		if j.Name == cluster.VMsPodMonitor && len(j.by()) > 0 && !slices.ContainsFunc(j.by(), (*cluster.Prometheus).Evaluates) {
			worst = Warn
		}
	}
	if recorded {
		worst = Warn
	}
	none := warn("print them for the ruler that has the series: kubectl hypervisor rules -o rules-file; pass its URL with --prometheus-url",
		"there is no Prometheus and no ThanosRuler object, and a PrometheusAgent evaluates no rules: not checked what evaluates these PrometheusRules")
	return usageLines(rules, "evaluates these PrometheusRules", recorded, none, func(judged) Level { return worst })
}

// usageLines returns a line for all objects that are used, and one for those that are not for the same reason. Uses is what a
// Prometheus does with them; none is the line if there is no object that could, and it is left out if something is known to.
func usageLines(all []judged, uses string, known bool, none Line, worst func(judged) Level) []Line {
	var lines []Line
	for _, j := range all {
		line := none
		if by := j.by(); len(by) > 0 {
			line = ok("%s %s", list(by), uses)
		} else if len(j.verdicts) > 0 {
			why, fix := j.explain()
			line = warn(fix, "no Prometheus %s: %s", uses, why)
			line.Level = min(worst(j), j.verdicts[0].level())
		} else if known {
			continue
		}
		same := slices.IndexFunc(lines, func(one Line) bool { return one.Level == line.Level && one.Text == line.Text && one.Hint == line.Hint })
		if same < 0 {
			same, lines = len(lines), append(lines, line)
		}
		lines[same] = lines[same].about(append(lines[same].Objects, j.String()))
	}
	return lines
}

func list(all []*cluster.Prometheus) string {
	var found []string
	for _, one := range all[:min(len(all), mostVerdicts)] {
		found = append(found, one.String())
	}
	if more := len(all) - len(found); more > 0 {
		found = append(found, fmt.Sprintf("%d more", more))
	}
	return strings.Join(found, ", ")
}

// alertLines reports whether one that evaluates the alerts about VMs sends them to an Alertmanager.
func alertLines(rules []judged) []Line {
	at := slices.IndexFunc(rules, func(j judged) bool { return j.Name == vmsRule })
	if at < 0 || len(rules[at].by()) == 0 {
		return nil
	}
	by := rules[at].by()
	for _, one := range by {
		if to := alertmanagers(one); to != "" {
			return []Line{ok("%s sends alerts to %s", one, to)}
		}
	}
	field := "spec.alerting.alertmanagers"
	if by[0].Kind == cluster.KindThanosRuler {
		field = "spec.alertmanagersUrl"
	}
	return []Line{warn("set "+field+" in "+by[0].String(), "alerts fire and reach no one: %s has no Alertmanager", list(by))}
}

// alertmanagers returns where a Prometheus or ThanosRuler sends alerts; empty if nowhere.
func alertmanagers(p *cluster.Prometheus) string {
	spec := &p.Spec
	switch {
	case spec.Alerting != nil && len(spec.Alerting.Alertmanagers) > 0:
		to := spec.Alerting.Alertmanagers[0]
		return "Alertmanager " + cmp.Or(to.Namespace, p.Namespace) + "/" + to.Name
	case spec.AdditionalAlertManagerConfigs != nil:
		return "the Alertmanagers of its additionalAlertManagerConfigs"
	case len(spec.AlertmanagersURL) > 0:
		return "Alertmanager " + spec.AlertmanagersURL[0]
	case spec.AlertmanagersConfig != nil:
		return "the Alertmanagers of its alertmanagersConfig"
	default:
		return ""
	}
}
