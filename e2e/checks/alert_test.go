package checks

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// rule is one of the product's, as its manifests have it.
type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	rare bool // evaluated every few minutes only
}

// hasTwin reports whether the alert's short copy differs only in how long it waits.
func (r rule) hasTwin() bool { return shorter(r.Expr) == r.Expr && !r.rare }

type ruleGroup struct {
	Name     string `json:"name"`
	Interval string `json:"interval,omitempty"`
	Rules    []rule `json:"rules"`
}

// minutes are a duration in a rule, and days are one that an alert waits.
var minutes, days = regexp.MustCompile(`\b(\d+)m\b`), regexp.MustCompile(`\b(\d+)d\b`)

// shorter returns an expression with a second for each minute, and for the 300 s for which QEMU does not answer.
func shorter(expr string) string {
	return strings.ReplaceAll(minutes.ReplaceAllString(expr, "${1}s"), "> 300", "> 5")
}

// shortMark is a label of the short copies' alerts, and of no other.
const shortMark = "e2e"

// withoutExporter are the alerts for clusters without the product. checkWithoutExporter applies them.
const withoutExporter = "manifests/without-exporter/prometheusrule.yaml"

// productRules are the groups of all rules that are installed with the product.
func (f *framework) productRules() []ruleGroup {
	return f.ruleGroups("manifests/monitoring/prometheusrule.yaml", "manifests/relay/monitoring/prometheusrule.yaml")
}

func (f *framework) ruleGroups(paths ...string) (groups []ruleGroup) {
	for _, object := range f.productObjects(paths...) {
		text, err := json.Marshal(object.Object["spec"])
		f.must(err)
		var spec struct{ Groups []ruleGroup }
		f.must(json.Unmarshal(text, &spec))
		groups = append(groups, spec.Groups...)
	}
	return groups
}

// shortened are copies of the alerts with a second for each minute, so that what takes a quarter of an hour can be seen
// here. Otherwise they differ in a label only.
func shortened(groups []ruleGroup) (short []ruleGroup) {
	for _, group := range groups {
		group.Name += "-short"
		group.Interval = minutes.ReplaceAllString(group.Interval, "${1}s")
		group.Rules = slices.DeleteFunc(slices.Clone(group.Rules), func(r rule) bool { return r.Alert == "" })
		for i, r := range group.Rules {
			r.Expr, r.For = shorter(r.Expr), days.ReplaceAllString(minutes.ReplaceAllString(r.For, "${1}s"), "${1}m")
			r.Labels = map[string]string{"severity": r.Labels["severity"], shortMark: "short"}
			group.Rules[i] = r
		}
		short = append(short, group)
	}
	return short
}

// installShortRules puts the short copies beside the product's rules, in a namespace that no check deletes.
func (f *framework) installShortRules() {
	f.applyRules("e2e-short", shortened(f.productRules()))
}

func (f *framework) applyRules(name string, groups []ruleGroup) {
	spec, err := json.Marshal(map[string]any{"groups": groups})
	f.must(err)
	f.apply(`{"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": %q, "namespace": %q}, "spec": %s}`,
		name, cluster.Monitoring, spec)
}

// podLabels are those of an alert about a VM's pod.
func podLabels(v vm, pod *corev1.Pod) map[string]string {
	return map[string]string{"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName, "pod": pod.Name}
}

// vmLabels are those of an alert about a VM; those about its type have it as well.
func vmLabels(v vm, pod *corev1.Pod, hypervisor string) map[string]string {
	labels := map[string]string{"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName}
	if hypervisor != "" {
		labels["hypervisor_type"] = hypervisor
	}
	return labels
}

// awaitAlert waits until the alert fires in its short copy with exactly these labels, and where the copy differs only in
// how long it waits, until the product's own is at least pending.
func (f *framework) awaitAlert(name string, labels map[string]string) {
	began := time.Now()
	want := f.alertRule(name)
	var fired cluster.Alert
	f.eventually(fmt.Sprintf("alert %s %v", name, labels), func() error {
		short, own, others := f.alerts(name, labels)
		if short == nil || short.State != "firing" || own == nil && want.hasTwin() {
			return fmt.Errorf("the short copy %v, the product's own %v, with other labels %v", short, own, others)
		}
		fired = *short
		return nil
	})
	f.t.Logf("%s fired after %.1f s: %s", name, time.Since(began).Seconds(), fired.Annotations["description"])
	f.requireText(want, fired, labels)
}

// requireText fails unless the alert's severity and annotations are the rule's, each label's value in its place.
func (f *framework) requireText(want rule, fired cluster.Alert, labels map[string]string) {
	require.Equal(f.t, want.Labels["severity"], fired.Labels["severity"])
	require.Equal(f.t, want.Annotations["summary"], fired.Annotations["summary"])
	require.Regexp(f.t, description(want, labels), fired.Annotations["description"])
	runbook := filepath.Join("docs", "runbooks", want.Alert+".md")
	require.True(f.t, strings.HasSuffix(fired.Annotations["runbook_url"], "/"+runbook), fired.Annotations["runbook_url"])
	require.FileExists(f.t, filepath.Join(product(f.t), runbook))
}

// awaitOwnAlert waits until the product's own alert fires, for one that has no "for" and whose cause is a moment: its short
// copy looks back for seconds, and on a busy machine these may be over.
func (f *framework) awaitOwnAlert(name string, labels map[string]string) {
	var fired cluster.Alert
	f.eventually(fmt.Sprintf("alert %s %v", name, labels), func() error {
		_, own, others := f.alerts(name, labels)
		if own == nil || own.State != "firing" {
			return fmt.Errorf("the product's own %v, with other labels %v", own, others)
		}
		fired = *own
		return nil
	})
	f.requireText(f.alertRule(name), fired, labels)
}

// awaitResolved waits until the alert no longer fires.
func (f *framework) awaitResolved(name string, labels map[string]string) {
	began := time.Now()
	want := f.alertRule(name)
	f.until(fmt.Sprintf("the end of alert %s %v", name, labels), func() bool {
		short, own, _ := f.alerts(name, labels)
		return short == nil && (own == nil || !want.hasTwin())
	}, nil)
	f.t.Logf("%s resolved after %.1f s", name, time.Since(began).Seconds())
}

// requireNoAlert fails where the alert is pending or fires.
func (f *framework) requireNoAlert(name string, labels map[string]string) {
	short, own, _ := f.alerts(name, labels)
	require.Nil(f.t, short)
	require.Nil(f.t, own)
}

// alerts are the alert's short copy and the product's own with these labels, nil where it is not even pending, and all
// with other labels.
func (f *framework) alerts(name string, labels map[string]string) (short, own *cluster.Alert, others []cluster.Alert) {
	all, err := f.Alerts(f.ctx)
	f.must(err)
	for _, alert := range all {
		if alert.Labels["alertname"] != name {
			continue
		}
		specific := maps.Clone(alert.Labels)
		for _, label := range []string{"alertname", "severity", "operator_health_impact", "kubernetes_operator_part_of", "kubernetes_operator_component", shortMark} {
			delete(specific, label)
		}
		switch {
		case !maps.Equal(specific, labels):
			others = append(others, alert)
		case alert.Labels[shortMark] != "":
			short = &alert
		default:
			own = &alert
		}
	}
	return short, own, others
}

func (f *framework) alertRule(name string) rule {
	for _, group := range append(f.productRules(), f.ruleGroups(withoutExporter)...) {
		if i := slices.IndexFunc(group.Rules, func(r rule) bool { return r.Alert == name }); i >= 0 {
			found := group.Rules[i]
			found.rare = group.Interval != ""
			return found
		}
	}
	require.Fail(f.t, "no such alert", name)
	return rule{}
}

// description is what the rule's template has to become: each label's value in its place, and a number for its value.
func description(r rule, labels map[string]string) string {
	text := regexp.QuoteMeta(r.Annotations["description"])
	for name, value := range labels {
		text = strings.ReplaceAll(text, regexp.QuoteMeta("{{ $labels."+name+" }}"), regexp.QuoteMeta(value))
	}
	return "^" + regexp.MustCompile(`\\{\\{ \\\$value[^}]*\\}\\}`).ReplaceAllString(text, `[0-9][0-9a-z .]*`) + "$"
}
