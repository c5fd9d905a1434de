package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

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

// usedBy reports whether the Prometheus uses the object without a problem.
func (j judged) usedBy(p *cluster.Prometheus) bool { return slices.Contains(j.by(), p) }

// products are the objects for a Prometheus operator that matter for us.
type products struct {
	monitors []cluster.PodMonitor
	rules    []cluster.PrometheusRule
	// all are the Prometheuses, PrometheusAgents and ThanosRulers.
	all []cluster.Prometheus
	// homes are the labels of our namespaces.
	homes map[string]labels.Set
	// operators are those that the API server lets write the state of a Prometheus.
	operators map[*cluster.Prometheus][]cluster.Operator
	// targets is how many VMs have sidecars, at least.
	targets int64
}

// monitoring checks whether a Prometheus finds the VMs, the webhook and the relay, and evaluates the rules.
func (r *run) monitoring() ([]Line, error) {
	found, lines, err := r.products()
	if err != nil || found == nil {
		return lines, err
	}
	vms := slices.IndexFunc(found.monitors, isVMs)
	if vms < 0 {
		lines = append(lines, r.noMonitor()...)
	}
	if len(found.all) == 0 {
		if len(found.monitors)+len(found.rules) > 0 {
			lines = append(lines, fail("create a Prometheus or PrometheusAgent object, or scrape without the operator and pass --prometheus-url",
				"there is no Prometheus and no PrometheusAgent object: nothing uses our PodMonitors and PrometheusRules"))
		}
		return lines, nil
	}
	rights := &rights{r: r}
	found.operators = rights.operators(found.all)
	monitors := found.judgeMonitors(rights.finds)
	lines = append(lines, monitorLines(monitors)...)
	if vms >= 0 {
		lines = append(lines, r.leftOut(&found.monitors[vms])...)
		lines = append(lines, rights.scraper(&found.monitors[vms])...)
	}
	rules := found.judgeRules(monitors)
	lines = append(lines, ruleLines(rules, monitors)...)
	lines = append(lines, alertLines(rules)...)
	lines = append(lines, found.referenceLines(monitors)...)
	return append(lines, rights.lines()...), nil
}

// ourNamespaces are those that our PodMonitors and PrometheusRules are in: with the relay, the VMs' PodMonitor is beside its
// token (manifests/relay/monitoring).
func (r *run) ourNamespaces() []string {
	if r.config.Exposure == inject.Direct {
		return []string{r.request.Exporter}
	}
	return []string{r.request.Exporter, r.request.Relay}
}

// products reads what monitoring judges. It returns nil if that is not enough to judge anything.
func (r *run) products() (*products, []Line, error) {
	found := &products{homes: map[string]labels.Set{}}
	var err error
	if found.monitors, err = r.reader.PodMonitorsIn(r.ctx, r.ourNamespaces()); absent(err) {
		return nil, r.noMonitor(), nil
	} else if err != nil {
		return nil, nil, err
	}
	if at := slices.IndexFunc(found.monitors, isVMs); at > 0 { // what matters most comes first
		found.monitors = append([]cluster.PodMonitor{found.monitors[at]}, slices.Delete(slices.Clone(found.monitors), at, at+1)...)
	}
	if found.all, err = r.reader.Prometheuses(r.ctx); err != nil {
		return nil, []Line{unread("Prometheus objects", err)}, nil
	}
	var lines []Line
	if found.rules, err = r.reader.PrometheusRulesIn(r.ctx, r.ourNamespaces()); err != nil && !absent(err) {
		lines = append(lines, unread("PrometheusRules", err))
	} else if !slices.ContainsFunc(found.rules, ofVMs) && r.request.Prometheus == nil {
		lines = append(lines, warn("kubectl hypervisor rules | kubectl apply -f -; with Helm, --set monitoring.prometheusRule.enabled=true",
			"PrometheusRule %s does not exist: no alert about VMs fires", vmsRule))
	}
	for _, name := range r.ourNamespaces() {
		home, err := cluster.Get(r.ctx, r.reader.CoreV1().Namespaces().Get, name)
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, append(lines, unread("labels of the namespace "+name, err)), nil
		}
		found.homes[name] = home.Labels
	}
	if population, err := r.population(); err == nil { // otherwise the step of the VMs reports it
		found.targets = int64(population.withSidecar())
	}
	r.ours = found
	return found, lines, nil
}

func isVMs(monitor cluster.PodMonitor) bool { return monitor.Name == cluster.VMsPodMonitor }

// vmsRule is the PrometheusRule with the alerts about VMs (monitoring/rules: components).
const vmsRule = "hypervisor-exporter-vms"

func ofVMs(rule cluster.PrometheusRule) bool { return rule.Name == vmsRule }

// noMonitor is the line if the VMs' PodMonitor does not exist. None is needed without the operator: what Prometheus scrapes,
// it shows itself if it can be asked.
func (r *run) noMonitor() []Line {
	if r.request.Prometheus != nil {
		return nil
	}
	return []Line{warn("with the Prometheus operator, install again (Helm: --set monitoring.podMonitors.enabled=true); without it, check with --prometheus-url",
		"PodMonitor %s does not exist, or the Prometheus operator is not installed", cluster.VMsPodMonitor)}
}

// judgeMonitors judges each PodMonitor for each Prometheus and PrometheusAgent. Finds returns what is wrong with the right of
// one to find the pods.
func (f *products) judgeMonitors(finds func(*cluster.Prometheus, *cluster.PodMonitor) []problem) []judged {
	var all []judged
	for i := range f.monitors {
		monitor := &f.monitors[i]
		t := &target{monitor.Selected, cluster.PodMonitors, f.homes[monitor.Namespace]}
		var verdicts []verdict
		for i := range f.all {
			if p := &f.all[i]; p.Scrapes() {
				problems := append(monitorProblems(p, t, monitor), f.unwatched(p, t)...)
				if monitor.Name == cluster.VMsPodMonitor {
					problems = append(problems, limitProblems(p, monitor, f.targets)...)
				}
				one := verdict{p, problems}
				if one.level() < Fail { // otherwise the right would not help
					one.problems = append(one.problems, finds(p, monitor)...)
				}
				verdicts = append(verdicts, one)
			}
		}
		all = append(all, newJudged(t, verdicts))
	}
	return all
}

// judgeRules judges each PrometheusRule for each Prometheus and ThanosRuler. Rules that a Prometheus evaluates without the
// VMs' series are of no use; a ThanosRuler has its series from elsewhere.
func (f *products) judgeRules(monitors []judged) []judged {
	vms := slices.IndexFunc(monitors, func(j judged) bool { return j.Name == cluster.VMsPodMonitor })
	var all []judged
	for i := range f.rules {
		t := &target{f.rules[i].Selected, cluster.PrometheusRules, f.homes[f.rules[i].Namespace]}
		var verdicts []verdict
		for i := range f.all {
			p := &f.all[i]
			if !p.Evaluates() {
				continue
			}
			problems := append(ruleProblems(p, t), f.unwatched(p, t)...)
			if vms >= 0 && len(monitors[vms].by()) > 0 && !monitors[vms].usedBy(p) && p.Scrapes() && len(p.Spec.RemoteRead) == 0 {
				problems = append(problems, problem{Fail, "does not scrape the VMs", "let " + monitors[vms].by()[0].String() + " evaluate the rules (spec.ruleSelector)"})
			}
			verdicts = append(verdicts, verdict{p, problems})
		}
		all = append(all, newJudged(t, verdicts))
	}
	return all
}

// unwatched returns a problem if no operator that runs the Prometheus watches the namespace of the object. Without a known
// operator there is none: the condition Available is then all that is known.
func (f *products) unwatched(p *cluster.Prometheus, t *target) []problem {
	operators := f.operators[p]
	if len(operators) == 0 || slices.ContainsFunc(operators, func(o cluster.Operator) bool { return o.WatchesMonitors(t.Namespace) }) {
		return nil
	}
	return []problem{{Fail, fmt.Sprintf("its operator %s does not watch the namespace %s", &operators[0], t.Namespace),
		fmt.Sprintf("let the operator %s watch %s (--namespaces, --deny-namespaces; prometheusOperator.namespaces in kube-prometheus-stack)", &operators[0], t.Namespace)}}
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

// monitorLines reports which PodMonitors are used. Without the VMs', no VM has a metric.
func monitorLines(all []judged) []Line {
	return usageLines(all, "uses these PodMonitors", func(j judged) Level {
		if j.Name == cluster.VMsPodMonitor {
			return Fail
		}
		return Warn
	})
}

// ruleLines reports which PrometheusRules are evaluated. A PrometheusAgent evaluates none, so where only agents scrape the
// VMs, no object shows whether they are.
func ruleLines(rules, monitors []judged) []Line {
	worst := Fail
	for _, j := range monitors {
		if j.Name == cluster.VMsPodMonitor && len(j.by()) > 0 && !slices.ContainsFunc(j.by(), (*cluster.Prometheus).Evaluates) {
			worst = Warn
		}
	}
	return usageLines(rules, "evaluates these PrometheusRules", func(judged) Level { return worst })
}

// usageLines returns a line for all objects that are used, and one for those that are not for the same reason. Uses is what a
// Prometheus does with them.
func usageLines(all []judged, uses string, worst func(judged) Level) []Line {
	var lines []Line
	for _, j := range all {
		var line Line
		if len(j.verdicts) == 0 {
			line = warn("print them for the ruler that has the series: kubectl hypervisor rules -o rules-file; pass its URL with --prometheus-url",
				"no Prometheus object %s, and a PrometheusAgent evaluates none", uses)
		} else if by := j.by(); len(by) > 0 {
			line = ok("%s %s", list(by), uses)
		} else {
			why, fix := j.explain()
			line = warn(fix, "no Prometheus %s: %s", uses, why)
			line.Level = min(worst(j), j.verdicts[0].level())
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

// leftOut reports namespaces with sidecars in which the VMs' PodMonitor does not look for pods.
func (r *run) leftOut(monitor *cluster.PodMonitor) []Line {
	selector := monitor.Spec.NamespaceSelector
	if r.namespaces == nil || selector.Any {
		return nil
	}
	out := slices.DeleteFunc(slices.Clone(r.namespaces.enabled), func(name string) bool {
		if len(selector.MatchNames) == 0 {
			return name == monitor.Namespace
		}
		return slices.Contains(selector.MatchNames, name)
	})
	if len(out) == 0 {
		return nil
	}
	return []Line{fail(fmt.Sprintf("set spec.namespaceSelector to {any: true} in PodMonitor %s/%s, or add them to its matchNames (Helm: monitoring.podMonitors.namespaceSelector)",
		monitor.Namespace, monitor.Name), "namespaces are labelled for sidecars, but PodMonitor %s leaves them out", monitor.Name).about(out)}
}

// referenceLines reports operators that do not watch the ConfigMap with the relay's CA, nor the Secret with the token: Prometheus
// gets those that were there when the operator last applied the object, for no longer than the CA lasts.
func (f *products) referenceLines(monitors []judged) []Line {
	at := slices.IndexFunc(monitors, func(j judged) bool { return j.Name == cluster.VMsPodMonitor && len(j.by()) > 0 })
	if at < 0 || !refers(f.monitors[at]) {
		return nil
	}
	for _, p := range monitors[at].by() {
		for _, operator := range f.operators[p] {
			if operator.WatchesReferences(monitors[at].Namespace) {
				return nil
			}
		}
	}
	by := monitors[at].by()[0]
	if len(f.operators[by]) == 0 {
		return nil
	}
	return []Line{warn(fmt.Sprintf("give the operator %s the flag --watch-referenced-objects-in-all-namespaces (0.85 or newer), or add %s to its --prometheus-instance-namespaces",
		&f.operators[by][0], monitors[at].Namespace), "the Prometheus operator does not watch Secrets and ConfigMaps in the namespace %s: %s does not get the relay's next CA, or another token, before something else changes",
		monitors[at].Namespace, by)}
}

// refers reports whether the PodMonitor names a Secret or a ConfigMap.
func refers(monitor cluster.PodMonitor) bool {
	for _, endpoint := range monitor.Spec.PodMetricsEndpoints {
		if endpoint.TLSConfig.CA.ConfigMap != nil || endpoint.TLSConfig.CA.Secret != nil || endpoint.Authorization != nil {
			return true
		}
	}
	return false
}
