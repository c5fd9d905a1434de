package check

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// prometheusOf returns an object of a kind whose operator reports that it runs, with a spec as JSON.
func prometheusOf(t *testing.T, kind, namespace, spec string) *cluster.Prometheus {
	t.Helper()
	p := &cluster.Prometheus{TypeMeta: metav1.TypeMeta{Kind: kind}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "main"}}
	require.NoError(t, json.Unmarshal([]byte(spec), &p.Spec))
	p.Status.Conditions = []cluster.Condition{{Type: "Available", Status: "True"}, {Type: "Reconciled", Status: "True"}}
	return p
}

// manifest reads an object of the manifests.
func manifest(t *testing.T, path string, object any) {
	t.Helper()
	content, err := os.ReadFile("../../manifests/" + path)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(content, object))
}

// vmsMonitor is the VMs' PodMonitor, as it is with the relay.
func vmsMonitor(t *testing.T) (*cluster.PodMonitor, *target) {
	t.Helper()
	monitor := &cluster.PodMonitor{}
	manifest(t, "monitoring/vms/podmonitor-vms.yaml", monitor)
	require.Equal(t, cluster.VMsPodMonitor, monitor.Name)
	monitor.Namespace = cluster.RelayNamespace
	return monitor, &target{monitor.Selected, cluster.PodMonitors, labels.Set{"kubernetes.io/metadata.name": cluster.RelayNamespace}}
}

const everything = `"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}, "ruleSelector": {}, "ruleNamespaceSelector": {}`

func TestMonitorSelection(t *testing.T) {
	tests := map[string]struct {
		namespace, spec string
		level           Level
		text, fix       string
	}{
		"all of all":         {"monitoring", `{` + everything + `}`, OK, "", ""},
		"its own namespace":  {cluster.RelayNamespace, `{"podMonitorSelector": {}}`, OK, "", ""},
		"no selector":        {"monitoring", `{"podMonitorNamespaceSelector": {}}`, Fail, "has no podMonitorSelector, and so selects none", "set spec.podMonitorSelector to {} in Prometheus monitoring/main"},
		"of its own only":    {"monitoring", `{"podMonitorSelector": {}}`, Fail, "has no podMonitorNamespaceSelector, and so selects in its own namespace only", "set spec.podMonitorNamespaceSelector to {}"},
		"a label":            {"monitoring", `{"podMonitorSelector": {"matchLabels": {"release": "main"}}, "podMonitorNamespaceSelector": {}}`, Fail, `podMonitorSelector "release=main" does not match its labels`, "kubectl -n hypervisor-exporter-relay label podmonitors -l app.kubernetes.io/name=kubevirt-hypervisor-exporter release=main"},
		"an expression":      {"monitoring", `{"podMonitorSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}, {"key": "scrape", "operator": "Exists"}]}, "podMonitorNamespaceSelector": {}}`, Fail, "does not match its labels", " scrape=true team=a"},
		"a label to replace": {"monitoring", `{"podMonitorSelector": {"matchLabels": {"app.kubernetes.io/name": "other"}}, "podMonitorNamespaceSelector": {}}`, Fail, "does not match its labels", "set spec.podMonitorSelector to a selector that matches in Prometheus monitoring/main"},
		"all but ours":       {"monitoring", `{"podMonitorSelector": {"matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["sidecar"]}]}, "podMonitorNamespaceSelector": {}}`, Fail, "does not match its labels", "set spec.podMonitorSelector to a selector that matches"},
		"no valid selector":  {"monitoring", `{"podMonitorSelector": {"matchExpressions": [{"key": "a", "operator": "Nonsense"}]}, "podMonitorNamespaceSelector": {}}`, Fail, `podMonitorSelector is invalid: "Nonsense"`, "set spec.podMonitorSelector to {}"},
		"namespaces":         {"monitoring", `{"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchLabels": {"monitored": "yes"}}}`, Fail, `podMonitorNamespaceSelector "monitored=yes" does not match the namespace hypervisor-exporter-relay`, "kubectl label namespace hypervisor-exporter-relay monitored=yes"},
		"another namespace":  {"monitoring", `{"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "x"}}}`, Fail, "does not match the namespace", "set spec.podMonitorNamespaceSelector to a selector that matches"},
		"this namespace":     {"monitoring", `{"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hypervisor-exporter-relay"}}}`, OK, "", ""},
		"invalid namespaces": {"monitoring", `{"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Nonsense"}]}}`, Fail, `podMonitorNamespaceSelector is invalid: "Nonsense"`, ""},
		"narrow":             {"monitoring", `{` + everything + `, "ignoreNamespaceSelectors": true}`, Fail, "ignoreNamespaceSelectors: it finds pods in the PodMonitor's own namespace only", "set spec.ignoreNamespaceSelectors to false in Prometheus monitoring/main"},
		"enforced":           {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace"}`, Fail, `enforcedNamespaceLabel: the label namespace of each VM becomes "hypervisor-exporter-relay"`, "add {resource: podmonitors, namespace: hypervisor-exporter-relay, name: hypervisor-exporter-vms} to spec.excludedFromEnforcement"},
		"another label":      {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "tenant"}`, OK, "", ""},
		"excluded":           {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace", "excludedFromEnforcement": [{"resource": "podmonitors", "namespace": "hypervisor-exporter-relay", "name": "hypervisor-exporter-vms"}]}`, OK, "", ""},
		"all excluded":       {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace", "excludedFromEnforcement": [{"resource": "podmonitors", "namespace": "hypervisor-exporter-relay"}]}`, OK, "", ""},
		"another excluded":   {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace", "excludedFromEnforcement": [{"resource": "prometheusrules", "namespace": "hypervisor-exporter-relay"}, {"resource": "podmonitors", "namespace": "x"}, {"resource": "podmonitors", "namespace": "hypervisor-exporter-relay", "name": "x"}]}`, Fail, "enforcedNamespaceLabel", ""},
		"paused":             {"monitoring", `{` + everything + `, "paused": true}`, Warn, "paused: the operator does not apply changes", "set spec.paused to false"},
		"none runs":          {"monitoring", `{` + everything + `, "replicas": 0}`, Fail, "replicas is 0", "set spec.replicas to 1"},
		"on each node":       {"monitoring", `{` + everything + `, "replicas": 0, "mode": "DaemonSet"}`, OK, "", ""},
		"files are denied":   {"monitoring", `{` + everything + `, "arbitraryFSAccessThroughSMs": {"deny": true}}`, OK, "", ""}, // of ServiceMonitors only: checkPodMonitor does not test it
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			monitor, object := vmsMonitor(t)
			v := verdict{problems: monitorProblems(prometheusOf(t, cluster.KindPrometheus, test.namespace, test.spec), object, monitor)}
			require.Equal(t, test.level, v.level(), v.problems)
			if test.level == OK {
				require.Empty(t, v.problems)
				return
			}
			require.Len(t, v.problems, 1)
			require.Contains(t, v.problems[0].text, test.text)
			require.Contains(t, v.problems[0].fix, test.fix)
		})
	}
}

// The PodMonitors of the webhook and the relay find pods of their own namespace, with the label that would be enforced.
func TestOwnNamespacesMonitor(t *testing.T) {
	for _, path := range []string{"monitoring/podmonitor-webhook.yaml", "relay/monitoring/podmonitor-relay.yaml"} {
		monitor := &cluster.PodMonitor{}
		manifest(t, path, monitor)
		object := &target{monitor.Selected, cluster.PodMonitors, nil}
		for _, spec := range []string{`"ignoreNamespaceSelectors": true`, `"enforcedNamespaceLabel": "namespace"`} {
			require.Empty(t, monitorProblems(prometheusOf(t, cluster.KindPrometheus, "monitoring", `{`+everything+`,`+spec+`}`), object, monitor), path)
		}
	}
}

func TestRuleSelection(t *testing.T) {
	tests := map[string]struct {
		namespace, spec string
		text, fix       string
	}{
		"all of all":        {"monitoring", `{` + everything + `}`, "", ""},
		"its own namespace": {cluster.ExporterNamespace, `{"ruleSelector": {}}`, "", ""},
		"no selector":       {"monitoring", `{"ruleNamespaceSelector": {}}`, "has no ruleSelector, and so selects none", "set spec.ruleSelector to {}"},
		"of its own only":   {"monitoring", `{"ruleSelector": {}}`, "has no ruleNamespaceSelector", "set spec.ruleNamespaceSelector to {}"},
		"matches nothing":   {"monitoring", `{"ruleSelector": {"matchLabels": {"role": "alerts"}}, "ruleNamespaceSelector": {}}`, `ruleSelector "role=alerts" does not match its labels`, "kubectl -n hypervisor-exporter label prometheusrules -l app.kubernetes.io/name=kubevirt-hypervisor-exporter role=alerts"},
		"namespaces":        {"monitoring", `{"ruleSelector": {}, "ruleNamespaceSelector": {"matchLabels": {"a": "b"}}}`, `ruleNamespaceSelector "a=b" does not match the namespace hypervisor-exporter`, "kubectl label namespace hypervisor-exporter a=b"},
		"enforced":          {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "tenant"}`, `its rules get only series with tenant="hypervisor-exporter"`, "add {resource: prometheusrules, namespace: hypervisor-exporter, name: hypervisor-exporter-vms} to spec.excludedFromEnforcement"},
		"excluded":          {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace", "excludedFromEnforcement": [{"resource": "prometheusrules", "namespace": "hypervisor-exporter"}]}`, "", ""},
		"excluded as once":  {"monitoring", `{` + everything + `, "enforcedNamespaceLabel": "namespace", "prometheusRulesExcludedFromEnforce": [{"ruleNamespace": "hypervisor-exporter", "ruleName": "hypervisor-exporter-vms"}]}`, "", ""},
		"no pods needed":    {"monitoring", `{` + everything + `, "ignoreNamespaceSelectors": true}`, "", ""},
	}
	for name, test := range tests {
		for _, kind := range []string{cluster.KindPrometheus, cluster.KindThanosRuler} {
			t.Run(name+" "+kind, func(t *testing.T) {
				rule := cluster.Selected{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.ExporterNamespace, Name: vmsRule, Labels: map[string]string{"app.kubernetes.io/name": "kubevirt-hypervisor-exporter"}}}
				problems := ruleProblems(prometheusOf(t, kind, test.namespace, test.spec), &target{rule, cluster.PrometheusRules, nil})
				if test.text == "" {
					require.Empty(t, problems)
					return
				}
				require.Len(t, problems, 1)
				require.Equal(t, Fail, problems[0].level)
				require.Contains(t, problems[0].text, test.text)
				require.Contains(t, problems[0].fix, test.fix)
			})
		}
	}
}

// What the operator reports about an object counts.
func TestOperatorsReport(t *testing.T) {
	monitor, object := vmsMonitor(t)
	judge := func(conditions ...cluster.Condition) []problem {
		p := prometheusOf(t, cluster.KindAgent, "monitoring", `{`+everything+`}`)
		p.Status.Conditions = conditions
		return monitorProblems(p, object, monitor)
	}
	available := func(status string) cluster.Condition { return cluster.Condition{Type: "Available", Status: status} }
	require.Equal(t, Warn, judge()[0].level, "no operator runs it")
	require.Empty(t, judge(available("True")))
	require.Empty(t, judge(available("Degraded")), "some pods are ready")
	require.Equal(t, problem{Fail, "none of its pods is ready", "kubectl -n monitoring describe prometheusagent main"}, judge(available("False"))[0])
	failed := judge(available("True"), cluster.Condition{Type: "Reconciled", Status: "False", Message: "no " + strings.Repeat("x", 1000)})
	require.Equal(t, Warn, failed[0].level)
	require.Less(t, len(failed[0].text), 500, "others' text is cut")

	for resource, want := range map[string]int{"prometheusagents": 1, "prometheuses": 0} {
		object.Status.Bindings = nil
		require.NoError(t, json.Unmarshal([]byte(`[{"resource": "`+resource+`", "namespace": "monitoring", "name": "main", "conditions": [{"type": "Accepted", "status": "False", "message": "no such Secret"}]}]`), &object.Status.Bindings))
		found := judge(available("True"))
		require.Len(t, found, want, resource)
		if want > 0 {
			require.Equal(t, problem{Fail, "the operator rejects it: no such Secret", "kubectl -n hypervisor-exporter-relay describe podmonitors hypervisor-exporter-vms"}, found[0])
		}
	}
}

// judgement of objects of ours by Prometheuses: what check makes of them, without rights.
func linesOf(t *testing.T, targets int64, all ...*cluster.Prometheus) (monitors, rules []Line, alerts []Line) {
	t.Helper()
	found := &products{homes: map[string]labels.Set{cluster.ExporterNamespace: {}, cluster.RelayNamespace: {}}, targets: targets}
	vms, _ := vmsMonitor(t)
	webhook := cluster.PodMonitor{}
	manifest(t, "monitoring/podmonitor-webhook.yaml", &webhook)
	found.monitors = []cluster.PodMonitor{*vms, webhook}
	rule := cluster.PrometheusRule{}
	rule.Namespace, rule.Name = cluster.ExporterNamespace, vmsRule
	found.rules = []cluster.PrometheusRule{rule}
	for _, one := range all {
		found.all = append(found.all, *one)
	}
	judged := found.judgeMonitors(func(*cluster.Prometheus, *cluster.PodMonitor) []problem { return nil })
	judgedRules := found.judgeRules(judged, false)
	return monitorLines(judged, false), ruleLines(judgedRules, judged, false), alertLines(judgedRules)
}

// What is known to scrape, or to record, is no failure.
func TestKnownUsage(t *testing.T) {
	_, object := vmsMonitor(t)
	broken := judged{object, []verdict{{prometheusOf(t, cluster.KindPrometheus, "x", `{}`), []problem{{Fail, "why", "fix"}}}}}
	require.Equal(t, Fail, monitorLines([]judged{broken}, false)[0].Level)
	require.Equal(t, Warn, monitorLines([]judged{broken}, true)[0].Level)
	require.Equal(t, Fail, ruleLines([]judged{broken}, nil, false)[0].Level)
	require.Equal(t, Warn, ruleLines([]judged{broken}, nil, true)[0].Level)
	require.Empty(t, monitorLines([]judged{{target: object}}, true))
	require.Empty(t, ruleLines([]judged{{target: object}}, nil, true))
}

func TestUsage(t *testing.T) {
	prometheus := func(namespace, spec string) *cluster.Prometheus {
		return prometheusOf(t, cluster.KindPrometheus, namespace, spec)
	}
	good := prometheus("good", `{`+everything+`, "alerting": {"alertmanagers": [{"namespace": "good", "name": "alerts"}]}}`)
	onlyRules := prometheus("rules", `{"ruleSelector": {}, "ruleNamespaceSelector": {}}`)
	onlyMonitors := prometheus("scrapes", `{"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}}`)
	narrow := prometheus("narrow", `{`+everything+`, "ignoreNamespaceSelectors": true}`)
	agent := prometheusOf(t, cluster.KindAgent, "agent", `{`+everything+`}`)
	ruler := prometheusOf(t, cluster.KindThanosRuler, "agent", `{"ruleSelector": {}, "ruleNamespaceSelector": {}, "alertmanagersUrl": ["http://alerts"]}`)
	tests := map[string]struct {
		all                     []*cluster.Prometheus
		monitors, rules, alerts []string
	}{
		"one is enough": {[]*cluster.Prometheus{narrow, good}, []string{
			"ok Prometheus good/main uses these PodMonitors [hypervisor-exporter-relay/hypervisor-exporter-vms]",
			"ok Prometheus narrow/main, Prometheus good/main uses these PodMonitors [hypervisor-exporter/hypervisor-exporter-webhook]",
		}, []string{"ok Prometheus good/main evaluates these PrometheusRules [hypervisor-exporter/hypervisor-exporter-vms]"}, []string{"ok Prometheus good/main sends alerts to Alertmanager good/alerts"}},
		"the VMs are not found": {[]*cluster.Prometheus{narrow}, []string{
			"fail no Prometheus uses these PodMonitors: Prometheus narrow/main: ignoreNamespaceSelectors",
			"ok Prometheus narrow/main uses these PodMonitors [hypervisor-exporter/hypervisor-exporter-webhook]",
		}, []string{"ok Prometheus narrow/main evaluates these"}, []string{"warn alerts fire and reach no one: Prometheus narrow/main has no Alertmanager"}},
		"only rules": {[]*cluster.Prometheus{onlyRules}, []string{
			"fail no Prometheus uses these PodMonitors: Prometheus rules/main: has no podMonitorSelector, and so selects none, has no podMonitorNamespaceSelector",
			"warn no Prometheus uses these PodMonitors: Prometheus rules/main: has no podMonitorSelector",
		}, []string{"ok Prometheus rules/main evaluates"}, []string{"warn alerts fire and reach no one"}},
		"one scrapes, another evaluates": {[]*cluster.Prometheus{onlyMonitors, onlyRules}, []string{
			"ok Prometheus scrapes/main uses these PodMonitors [hypervisor-exporter-relay/hypervisor-exporter-vms hypervisor-exporter/hypervisor-exporter-webhook]",
		}, []string{"fail no Prometheus evaluates these PrometheusRules: Prometheus rules/main: does not scrape the VMs; Prometheus scrapes/main: has no ruleSelector, and so selects none, has no ruleNamespaceSelector"}, nil},
		"an agent alone":         {[]*cluster.Prometheus{agent}, []string{"ok PrometheusAgent agent/main uses these PodMonitors"}, []string{"warn there is no Prometheus and no ThanosRuler object, and a PrometheusAgent evaluates no rules: not checked what evaluates these PrometheusRules [hypervisor-exporter/hypervisor-exporter-vms]"}, nil},
		"an agent and a ruler":   {[]*cluster.Prometheus{agent, ruler}, []string{"ok PrometheusAgent agent/main uses"}, []string{"ok ThanosRuler agent/main evaluates"}, []string{"ok ThanosRuler agent/main sends alerts to Alertmanager http://alerts"}},
		"an agent, other rules":  {[]*cluster.Prometheus{agent, onlyRules}, []string{"ok PrometheusAgent agent/main uses"}, []string{"warn no Prometheus evaluates these PrometheusRules: Prometheus rules/main: does not scrape the VMs"}, nil},
		"a tenant's ruler":       {[]*cluster.Prometheus{agent, prometheusOf(t, cluster.KindThanosRuler, "tenant", `{"ruleSelector": {}, "ruleNamespaceSelector": {}}`)}, []string{"ok "}, []string{"warn no Prometheus evaluates these PrometheusRules: ThanosRuler tenant/main: not known whether it has the VMs' series"}, nil},
		"a ruler alone":          {[]*cluster.Prometheus{ruler}, []string{"warn there is no Prometheus and no PrometheusAgent object: not checked what uses these PodMonitors [hypervisor-exporter-relay/hypervisor-exporter-vms hypervisor-exporter/hypervisor-exporter-webhook]"}, []string{"ok ThanosRuler agent/main evaluates"}, []string{"ok "}},
		"a paused one":           {[]*cluster.Prometheus{prometheus("x", `{`+everything+`, "paused": true}`)}, []string{"warn no Prometheus uses these PodMonitors: Prometheus x/main: paused"}, []string{"warn no Prometheus evaluates"}, nil},
		"alerts of its own":      {[]*cluster.Prometheus{prometheus("x", `{`+everything+`, "additionalAlertManagerConfigs": {"name": "a", "key": "b"}}`)}, []string{"ok "}, []string{"ok "}, []string{"ok Prometheus x/main sends alerts to the Alertmanagers of its additionalAlertManagerConfigs"}},
		"a ruler without alerts": {[]*cluster.Prometheus{agent, prometheusOf(t, cluster.KindThanosRuler, "agent", `{"ruleSelector": {}, "ruleNamespaceSelector": {}}`)}, []string{"ok "}, []string{"ok "}, []string{"warn alerts fire and reach no one: ThanosRuler agent/main"}},
		"a ruler with a Secret":  {[]*cluster.Prometheus{agent, prometheusOf(t, cluster.KindThanosRuler, "agent", `{"ruleSelector": {}, "ruleNamespaceSelector": {}, "alertmanagersConfig": {"name": "a", "key": "b"}}`)}, []string{"ok "}, []string{"ok "}, []string{"ok ThanosRuler agent/main sends alerts to the Alertmanagers of its alertmanagersConfig"}},
		"other series":           {[]*cluster.Prometheus{onlyMonitors, prometheus("x", `{"ruleSelector": {}, "ruleNamespaceSelector": {}, "remoteRead": [{"url": "http://x"}]}`)}, []string{"ok "}, []string{"ok Prometheus x/main evaluates"}, []string{"warn "}},
	}
	texts := func(lines []Line) []string {
		var all []string
		for _, line := range lines {
			all = append(all, line.Level.String()+" "+line.Text+" ["+strings.Join(line.Objects, " ")+"]")
		}
		return all
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			monitors, rules, alerts := linesOf(t, 1, test.all...)
			for _, one := range []struct{ got, want []string }{{texts(monitors), test.monitors}, {texts(rules), test.rules}, {texts(alerts), test.alerts}} {
				require.Len(t, one.got, len(one.want), one.got)
				for i := range one.want {
					require.Contains(t, one.got[i], one.want[i])
				}
			}
			for _, line := range slices.Concat(monitors, rules, alerts) {
				require.Equal(t, line.Level == OK, line.Hint == "", line.Text)
			}
		})
	}
}

// A cluster may have a Prometheus for each tenant: a line explains those that lack least.
func TestManyPrometheuses(t *testing.T) {
	var all []*cluster.Prometheus
	for range 50 {
		all = append(all, prometheusOf(t, cluster.KindPrometheus, "tenant", `{}`))
	}
	all = append(all, prometheusOf(t, cluster.KindPrometheus, "near", `{"podMonitorSelector": {}}`))
	monitors, _, _ := linesOf(t, 1, all...)
	require.Contains(t, monitors[0].Text, "no Prometheus uses these PodMonitors: Prometheus near/main: has no podMonitorNamespaceSelector")
	require.Contains(t, monitors[0].Text, "; and 48 more")
	require.Equal(t, "set spec.podMonitorNamespaceSelector to {} in Prometheus near/main", monitors[0].Hint)
}

func TestUnwatchedNamespaces(t *testing.T) {
	monitor, object := vmsMonitor(t)
	p := prometheusOf(t, cluster.KindPrometheus, "monitoring", `{`+everything+`}`)
	operator := func(flags ...string) cluster.Operator { return operatorWith(t, flags...) }
	tests := map[string]struct {
		operators []cluster.Operator
		watched   bool
		hint      string
	}{
		"not known":         {nil, true, ""},
		"all":               {[]cluster.Operator{operator()}, true, ""},
		"some":              {[]cluster.Operator{operator("--namespaces=monitoring,shop")}, false, ""},
		"denied":            {[]cluster.Operator{operator("--deny-namespaces=hypervisor-exporter-relay")}, false, ""},
		"another does":      {[]cluster.Operator{operator("--namespaces=shop"), operator("--namespaces=hypervisor-exporter-relay")}, true, ""},
		"not its ConfigMap": {[]cluster.Operator{operator("--prometheus-instance-namespaces=monitoring")}, true, "--watch-referenced-objects-in-all-namespaces"},
		"its ConfigMap too": {[]cluster.Operator{operator("--prometheus-instance-namespaces=monitoring", "--watch-referenced-objects-in-all-namespaces")}, true, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint := *monitor
			require.NoError(t, json.Unmarshal([]byte(`[{"tlsConfig": {"ca": {"configMap": {"name": "ca", "key": "ca.crt"}}}}]`), &endpoint.Spec.PodMetricsEndpoints))
			found := &products{monitors: []cluster.PodMonitor{endpoint}, operators: map[*cluster.Prometheus][]cluster.Operator{p: test.operators}}
			require.Equal(t, test.watched, len(found.unwatched(p, object)) == 0)
			lines := found.referenceLines([]judged{newJudged(object, []verdict{{p, found.unwatched(p, object)}})})
			require.Equal(t, test.hint != "", len(lines) == 1)
			if len(lines) > 0 {
				require.Contains(t, lines[0].Hint, test.hint)
			}
		})
	}
}

func TestLeftOut(t *testing.T) {
	monitor, _ := vmsMonitor(t)
	r := &run{namespaces: &namespaces{enabled: []string{"shop", "store"}}}
	require.Empty(t, r.leftOut(monitor), "any")
	require.Empty(t, (&run{}).leftOut(&cluster.PodMonitor{}), "not known which are enabled")
	for _, test := range []struct{ in, out []string }{{nil, []string{"shop", "store"}}, {[]string{"shop"}, []string{"store"}}} {
		monitor.Spec.NamespaceSelector.Any, monitor.Spec.NamespaceSelector.MatchNames = false, test.in
		lines := r.leftOut(monitor)
		require.Len(t, lines, 1)
		require.Equal(t, Fail, lines[0].Level)
		require.Equal(t, test.out, lines[0].Objects)
	}
	monitor.Spec.NamespaceSelector.MatchNames = []string{"store", "shop", "x"}
	require.Empty(t, r.leftOut(monitor))
}

// operatorWith returns an operator with flags, as its pod has them.
func operatorWith(t *testing.T, flags ...string) cluster.Operator {
	t.Helper()
	operator := cluster.OperatorOf(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "operators", Name: "prometheus-operator"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "prometheus-operator", Image: "prometheus-operator:v0.92.1", Args: flags}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	})
	require.NotNil(t, operator)
	return *operator
}
