package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

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
	scraped, recorded := r.evidence()
	rights := &rights{r: r}
	found.operators = rights.operators(found.all)
	monitors := found.judgeMonitors(rights.finds)
	lines = append(lines, monitorLines(monitors, scraped)...)
	if vms >= 0 {
		lines = append(lines, r.leftOut(&found.monitors[vms])...)
		lines = append(lines, rights.scraper(&found.monitors[vms])...)
	}
	evaluated := found.judgeRules(monitors, recorded)
	lines = append(lines, ruleLines(evaluated, monitors, recorded)...)
	lines = append(lines, alertLines(evaluated)...)
	lines = append(lines, found.referenceLines(monitors)...)
	lines = append(lines, r.rejections(found)...)
	return append(lines, rights.lines()...), nil
}

// evidence reports whether the Prometheus that can be asked scrapes VMs, and whether it has what the rules record: then something
// does it, whatever the objects show.
func (r *run) evidence() (scraped, recorded bool) {
	if r.request.Prometheus == nil {
		return false, false
	}
	has := func(expr string) bool {
		samples, err := r.request.Prometheus.Query(r.ctx, "count("+expr+")")
		return err == nil && len(samples) > 0 // the step asked reports an error
	}
	return has(fmt.Sprintf("up{job=%q} == 1", rules.VMsJob)), has(newest)
}

// rejections reports which of our objects the operator has rejected: for a Secret or a ConfigMap that is not there, or a field
// that this Prometheus cannot have. Only someone who may create events in our namespaces can have written that.
func (r *run) rejections(found *products) []Line {
	last, message := map[string]time.Time{}, map[string]string{}
	for _, namespace := range r.ourNamespaces() {
		err := r.reader.EachEvent(r.ctx, namespace, "reason=InvalidConfiguration", func(event *corev1.Event) { // pkg/operator: InvalidConfigurationEvent
			key := event.InvolvedObject.Kind + " " + namespace + "/" + event.InvolvedObject.Name
			if seen := vm.LastSeen(event); seen.After(last[key]) {
				last[key], message[key] = seen, event.Message
			}
		})
		if err != nil {
			return []Line{unread("events of PodMonitors and PrometheusRules", err)}
		}
	}
	var lines []Line
	for _, t := range found.objects() {
		kind := map[string]string{cluster.PodMonitors: "PodMonitor", cluster.PrometheusRules: "PrometheusRule"}[t.resource]
		if key := kind + " " + t.String(); message[key] != "" {
			lines = append(lines, r.rejection(t, key, message[key], last[key])...)
		}
	}
	return lines
}

// secretNotFound is in the operator's message about a PodMonitor whose Secret is missing (the API server's words).
var secretNotFound = regexp.MustCompile(`secrets "([^"]+)" not found`)

// rejection is about one event. It says nothing of a CA that has come, or of a Secret that is there again; who may not read
// Secrets cannot know that.
func (r *run) rejection(t *target, object, message string, last time.Time) []Line {
	if r.caCame(message) {
		return nil
	}
	if found := secretNotFound.FindStringSubmatch(message); found != nil {
		switch err := r.reader.HasSecret(r.ctx, t.Namespace, found[1]); {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return []Line{fail("apply the manifests or the chart again: the Secret is part of them",
				"Secret %s does not exist: the Prometheus operator leaves out %s", found[1], object).see(pageInstall)}
		}
	}
	age := duration.HumanDuration(r.request.Now.Sub(last)) // not in the text, which is the same each time with --wait
	return []Line{warn("kubectl -n "+t.Namespace+" describe "+t.resource+" "+t.Name+"; that was "+age+" ago, and the event stays for an hour after the fix",
		"the Prometheus operator rejected %s: %s", object, vm.Brief(message))}
}

// caCame reports whether the operator rejected an object for lack of the relay's CA, which is there now: it comes after the
// PodMonitor, and the event stays for an hour. An operator that does not see it come has a line of its own.
func (r *run) caCame(message string) bool {
	if !strings.Contains(message, "configmap="+cluster.RelayCA) { // pkg/assets: the key of what was not found
		return false
	}
	ca, err := r.reader.PublishedCA(r.ctx, r.request.Relay)
	return err == nil && ca != ""
}

// ourNamespaces are those that our PodMonitors and PrometheusRules are in: with the relay, the VMs' PodMonitor is beside its
// token (manifests/relay/monitoring).
func (r *run) ourNamespaces() []string {
	if r.config.Exposure == inject.Direct || r.request.Relay == "" {
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

// monitor and rule are what is judged of an object.
func (f *products) monitor(i int) *target {
	return &target{f.monitors[i].Selected, cluster.PodMonitors, f.homes[f.monitors[i].Namespace]}
}

func (f *products) rule(i int) *target {
	return &target{f.rules[i].Selected, cluster.PrometheusRules, f.homes[f.rules[i].Namespace]}
}

// objects are all of ours.
func (f *products) objects() []*target {
	var all []*target
	for i := range f.monitors {
		all = append(all, f.monitor(i))
	}
	for i := range f.rules {
		all = append(all, f.rule(i))
	}
	return all
}

// judgeMonitors judges each PodMonitor for each Prometheus and PrometheusAgent. Finds returns what is wrong with the right of
// one to find the pods.
func (f *products) judgeMonitors(finds func(*cluster.Prometheus, *cluster.PodMonitor) []problem) []judged {
	var all []judged
	for i := range f.monitors {
		monitor := &f.monitors[i]
		t := f.monitor(i)
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

// judgeRules judges each PrometheusRule for each Prometheus and ThanosRuler. Rules are of no use where the VMs' series are not:
// in a Prometheus that neither scrapes them nor reads from elsewhere. Which series a ThanosRuler has, no object shows, and
// anyone with a namespace may have one; one beside a Prometheus that scrapes the VMs is taken to query that.
func (f *products) judgeRules(monitors []judged, recorded bool) []judged {
	var scrapers []*cluster.Prometheus
	for _, j := range monitors {
		if j.Name == cluster.VMsPodMonitor {
			scrapers = j.by()
		}
	}
	var all []judged
	for i := range f.rules {
		t := f.rule(i)
		var verdicts []verdict
		for i := range f.all {
			p := &f.all[i]
			if !p.Evaluates() {
				continue
			}
			problems := append(ruleProblems(p, t), f.unwatched(p, t)...)
			if one := withoutSeries(p, scrapers); one != nil && !recorded {
				problems = append(problems, *one)
			}
			verdicts = append(verdicts, verdict{p, problems})
		}
		all = append(all, newJudged(t, verdicts))
	}
	return all
}

// withoutSeries returns the problem of rules without the VMs' series; nil if there is none, or if nothing scrapes the VMs, which
// is a line of its own.
func withoutSeries(p *cluster.Prometheus, scrapers []*cluster.Prometheus) *problem {
	switch {
	case len(scrapers) == 0 || len(p.Spec.RemoteRead) > 0:
		return nil
	case p.Scrapes() && !slices.Contains(scrapers, p):
		return &problem{Fail, "does not scrape the VMs", "let " + scrapers[0].String() + " evaluate the rules (spec.ruleSelector)"}
	case !p.Scrapes() && !slices.ContainsFunc(scrapers, func(one *cluster.Prometheus) bool { return one.Namespace == p.Namespace }):
		return &problem{Warn, "not known whether it has the VMs' series", "pass the URL of what it queries: --prometheus-url"}
	default:
		return nil
	}
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
	return []Line{warn(fmt.Sprintf("add %[2]s to the flag --prometheus-instance-namespaces of the operator %[1]s, or upgrade it to 0.92.1 and give it --watch-referenced-objects-in-all-namespaces",
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
