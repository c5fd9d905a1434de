package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// What a Prometheus that can be asked has loaded, scrapes and records. The objects of the operator show only what it should.

// asked checks what the Prometheus of --prometheus-url reports; it is skipped without.
func (r *run) asked() ([]Line, error) {
	server := r.request.Prometheus
	if server == nil {
		return nil, nil
	}
	lines, err := r.targets(server)
	if err != nil {
		return lines, err
	}
	loaded, whole := r.loaded(server)
	lines = append(lines, loaded...)
	series, err := r.series(server, whole)
	lines = append(lines, series...)
	if err != nil {
		return lines, err
	}
	managers, err := server.Alertmanagers(r.ctx)
	if errors.Is(err, source.ErrNoAPI) { // Thanos and Mimir send alerts from elsewhere
		return lines, nil
	}
	if err != nil {
		return append(lines, unread("Alertmanagers of Prometheus", err)), nil
	}
	return append(lines, managerLine(managers)), nil
}

// job is a job of ours, and how many targets it has.
type job struct {
	name, of string
	up, down int
	failure  source.Failure
	// wanted is that it should have targets, as far as is known.
	wanted bool
}

// targets checks whether the targets of our jobs answer. Their number and their state are series, which also Thanos has; why
// they do not answer only Prometheus itself reports.
func (r *run) targets(server *source.Server) ([]Line, error) {
	jobs := []*job{{name: rules.VMsJob, of: "VMs"}, {name: rules.RelayJob, of: "relays"}, {name: rules.WebhookJob, of: "webhook and certificate process"}}
	if population, err := r.population(); err == nil {
		jobs[0].wanted = population.withSidecar() > 0
	}
	selector := fmt.Sprintf(`(up{job=~"%s|%s"} or up{job=%q%s})`, rules.RelayJob, rules.WebhookJob, rules.VMsJob, inNamespace(r.request.Namespace))
	samples, err := server.Query(r.ctx, "count by (job) "+selector)
	if err != nil {
		return nil, err
	}
	down, err := server.Query(r.ctx, "count by (job) ("+selector+" == 0)")
	if err != nil {
		return nil, err
	}
	var failures map[string]source.Failure
	if len(down) > 0 {
		failures, _ = server.Failures(r.ctx, func(labels map[string]string) bool { // the lines are true without the reason
			return labels["job"] != rules.VMsJob || r.request.Namespace == "" || labels["namespace"] == r.request.Namespace
		})
	}
	var lines []Line
	for _, one := range jobs {
		if one.of != "VMs" && r.ours != nil {
			one.wanted = slices.ContainsFunc(r.ours.monitors, func(m cluster.PodMonitor) bool { return strings.HasSuffix(one.name, "/"+m.Name) })
		}
		one.down = number(down, one.name)
		one.up = number(samples, one.name) - one.down
		one.failure = failures[one.name]
		lines = append(lines, one.lines()...)
	}
	return lines, nil
}

// number returns the value of the sample of a job; 0 if there is none.
func number(samples []source.Sample, job string) int {
	for _, sample := range samples {
		if sample.Labels["job"] == job {
			value, err := strconv.ParseFloat(fmt.Sprint(sample.Value[1]), 64)
			if err == nil {
				return int(value)
			}
		}
	}
	return 0
}

// lines judges the targets. A VM whose target is down is named by the step of the VMs.
func (j *job) lines() []Line {
	ofVMs := j.of == "VMs"
	switch {
	case j.up+j.down == 0 && !j.wanted:
		return nil
	case j.up+j.down == 0:
		line := warn("fix what the section monitoring names; without the operator, add the scrape configuration for the job; is this the right --prometheus-url?",
			"Prometheus has no target of the %s (job %s)", j.of, j.name)
		if ofVMs {
			line.Level = Fail
		}
		return []Line{line}
	case j.down == 0:
		return []Line{ok("targets of the %s answer: %d", j.of, j.up)}
	}
	line := warn("", "%d of %s of the %s do not answer (job %s)", j.down, survey.Count(j.up+j.down, "target", "targets"), j.of, j.name)
	if ofVMs && j.up == 0 {
		line.Level = Fail
	}
	if j.failure.Error != "" {
		line.Text += ": " + vm.Brief(j.failure.Error)
	}
	line.Hint = targetHint(j.failure.Error)
	return []Line{line}
}

// targetHint says what to do about the error of a scrape, by what Prometheus writes (prometheus/scrape/scrape.go and Go's
// net/http).
func targetHint(err string) string {
	switch {
	case strings.Contains(err, "HTTP status 401"), strings.Contains(err, "HTTP status 403"):
		return "the relay refuses Prometheus' token: kubectl auth can-i get " + cluster.RelayPath + " --as system:serviceaccount:NAMESPACE:" + cluster.Scraper +
			"; if the Secret of the token was replaced, restart the Prometheus operator"
	case strings.Contains(err, "x509"), strings.Contains(err, "certificate"):
		return "Prometheus does not trust the relay's certificate: the CA in its configuration may be the previous one; change a label of the PodMonitor, so that the operator writes it again"
	case strings.Contains(err, "limit exceeded"):
		return "a limit of the Prometheus or of the PodMonitor is too low; the section monitoring names it"
	case strings.Contains(err, "refused"), strings.Contains(err, "deadline"), strings.Contains(err, "timeout"), strings.Contains(err, "no route"):
		return "does it run, and may Prometheus reach it (NetworkPolicy, firewall, port 9478 of the nodes)?"
	default:
		return "open the page Status > Targets of Prometheus: it has the error of each"
	}
}

// wantedGroups are the groups of our PrometheusRules or, without any, those of this release.
func (r *run) wantedGroups() []cluster.RuleGroup {
	var groups []cluster.RuleGroup
	if r.ours != nil {
		for _, rule := range r.ours.rules {
			groups = append(groups, rule.Spec.Groups...)
		}
	}
	if len(groups) > 0 {
		return groups
	}
	for _, component := range rules.Components() {
		for _, group := range component.Groups {
			groups = append(groups, cluster.RuleGroup{Name: group.Name})
		}
	}
	return groups
}

// loaded checks whether our rules are loaded, and whether any fails. Whole is that what they record should be there.
func (r *run) loaded(server *source.Server) (lines []Line, whole bool) {
	groups := r.wantedGroups()
	var names []string
	for _, group := range groups {
		names = append(names, group.Name)
	}
	found, err := server.RuleGroups(r.ctx, names)
	if errors.Is(err, source.ErrNoAPI) {
		return []Line{warn("pass the URL of the Prometheus or ruler that evaluates them", "rules: not checked: %s", err)}, false
	}
	if err != nil {
		return []Line{unread("rules of Prometheus", err)}, false
	}
	// Where rules are evaluated elsewhere, as with a Thanos that has no rule stores, there is what they record.
	recorded, err := server.Query(r.ctx, "count("+newest+")")
	return groupLines(groups, found, err == nil && len(recorded) > 0)
}

// groupLines judges groups of rules: wanted by loaded. Recorded is that what they record is there. Whole is that it should be.
func groupLines(wanted []cluster.RuleGroup, loaded []source.RuleGroup, recorded bool) (lines []Line, whole bool) {
	byName := map[string]map[string]source.Rule{}
	for _, group := range loaded {
		if byName[group.Name] == nil {
			byName[group.Name] = map[string]source.Rule{}
		}
		for _, rule := range group.Rules {
			if known, twice := byName[group.Name][rule.Name]; !twice || known.Health != "err" {
				byName[group.Name][rule.Name] = rule
			}
		}
	}
	var missing, failing, stale, waiting []string
	reason := ""
	whole = true
	for _, group := range wanted {
		there, found := byName[group.Name]
		if !found {
			missing = append(missing, group.Name)
			continue
		}
		for _, rule := range group.Rules {
			if name := rule.Alert + rule.Record; there[name].Name == "" {
				stale = append(stale, group.Name+"/"+name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(there)) {
			switch rule := there[name]; rule.Health {
			case "err":
				failing = append(failing, group.Name+"/"+name)
				reason = rule.LastError
			case "unknown":
				waiting = append(waiting, group.Name+"/"+name)
				whole = whole && rule.Type != "recording"
			}
		}
	}
	if len(missing) > 0 {
		line := fail("fix what the section monitoring names; without the operator: kubectl hypervisor rules -o rules-file > rules.yaml, and name it under rule_files",
			"Prometheus has not loaded groups of our rules: their alerts cannot fire").about(missing)
		if recorded {
			line.Level, line.Text = Warn, "groups of our rules are not loaded here; what they record is there, so another server evaluates them: pass its URL to check them"
		}
		lines = append(lines, line)
	}
	if len(failing) > 0 {
		lines = append(lines, fail("the error is on the page Alerts or Rules of Prometheus, too; apply the rules of this release: kubectl hypervisor rules",
			"rules of ours fail: %s", vm.Brief(reason)).about(failing))
	}
	if len(stale) > 0 {
		lines = append(lines, warn("wait a minute; then check the log of the Prometheus operator and of Prometheus' container config-reloader",
			"rules of our PrometheusRules are not loaded, although others of their group are").about(stale))
	}
	if len(waiting) > 0 {
		lines = append(lines, warn("wait: a group that is evaluated every 5 minutes needs as long", "rules of ours were not evaluated yet").about(waiting))
	}
	if len(lines) == 0 {
		lines = append(lines, ok("Prometheus has loaded %s of our rules, and no rule fails", survey.Count(len(wanted), "group", "groups")))
	}
	return lines, whole && len(missing)+len(failing) == 0
}

// newest selects what the rules record for each VM (monitoring/rules: vms).
const newest = rules.Newest + `{` + rules.NotVMs + `}`

// ofVM are the labels that identify a VM; cluster is empty in a Prometheus of one cluster.
const ofVM = "(cluster, namespace, name)"

// settled is how long a VM may be seen in two pods, or not by the rules: longer than a series outlives its target (5 minutes
// in Prometheus), and than a rule's interval.
const settled = "10m"

// inNamespace is one more matcher, if there is a namespace.
func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return fmt.Sprintf(",namespace=%q", namespace)
}

// question is what Prometheus is asked about series, and what its answer means: each sample is a VM.
type question struct{ expr, text, hint string }

// questions ask whether each VM of a namespace, or of all, has one series: of one pod and, if the rules are loaded, one that
// they record.
func questions(namespace string, loaded bool) []question {
	matcher := inNamespace(namespace)
	info := func(offset string) string {
		return fmt.Sprintf(`(kubevirt_vmi_hypervisor_info{job=%q%s}%s == 1)`, rules.VMsJob, matcher, offset)
	}
	// Replicas of a Prometheus, and of its rules, count once.
	pods := func(offset string) string {
		return "(count by " + ofVM + " (group by (cluster, namespace, name, pod) " + info(offset) + ") > 1)"
	}
	all := []question{{
		pods("") + " and on " + ofVM + " " + pods(" offset "+settled),
		"VMs have had series of two pods for " + settled + ": both report that the VM runs there",
		"find the VM's pod that should have ended: kubectl -n NAMESPACE get pods -l kubevirt.io=virt-launcher -o wide",
	}}
	if !loaded {
		return all
	}
	recorded := strings.Replace(newest, "}", matcher+"}", 1)
	return append(all, question{
		"group by " + ofVM + " " + info("") + " and on " + ofVM + " " + info(" offset "+settled) + " unless on " + ofVM + " " + recorded,
		"VMs have a series of their own, but none that the rules record: no alert about them fires",
		"do all series have the same label cluster? apply the rules of this release: kubectl hypervisor rules",
	}, question{
		"count by " + ofVM + " (group by (cluster, namespace, name, node, hypervisor_type) (" + recorded + ")) > 1",
		"VMs have several recorded series: several Prometheuses evaluate the rules on different data",
		"let one Prometheus evaluate the rules, or give each its own external label cluster",
	})
}

// series asks the questions.
func (r *run) series(server *source.Server, loaded bool) ([]Line, error) {
	var lines []Line
	for _, question := range questions(r.request.Namespace, loaded) {
		samples, err := server.Query(r.ctx, question.expr)
		if err != nil {
			return lines, err
		}
		if len(samples) > 0 {
			var about []string
			for _, sample := range samples {
				about = append(about, strings.TrimPrefix(sample.Labels["cluster"]+"/"+sample.Labels["namespace"]+"/"+sample.Labels["name"], "/"))
			}
			lines = append(lines, warn(question.hint, "%s", question.text).about(about))
		}
	}
	if loaded && len(lines) == 0 {
		lines = append(lines, ok("the rules record one series for each VM that Prometheus has a series of"))
	}
	return lines, nil
}

// managerLine judges where alerts go.
func managerLine(managers []string) Line {
	if len(managers) == 0 {
		return warn("set spec.alerting.alertmanagers of the Prometheus object; if it is set, the Alertmanager's Service has no ready address",
			"Prometheus sends alerts to no Alertmanager")
	}
	return ok("Prometheus sends alerts to %s", survey.Count(len(managers), "Alertmanager", "Alertmanagers"))
}
