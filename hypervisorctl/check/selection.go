package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Whether a Prometheus scrapes by a PodMonitor of ours, and evaluates a PrometheusRule, by what is in the objects. Pure.

// problem is why a Prometheus does not use an object of ours, or not as it should. The fix is one command, or one field to
// set.
type problem struct {
	level     Level
	text, fix string
}

// target is a PodMonitor or a PrometheusRule of ours, and what else matters for it.
type target struct {
	cluster.Selected
	// resource is podmonitors or prometheusrules.
	resource string
	// home are the labels of its namespace.
	home labels.Set
}

// String is the namespace and the name.
func (t *target) String() string { return t.Namespace + "/" + t.Name }

// label is the command that labels it, and all of ours in its namespace.
func (t *target) label() string {
	return "kubectl -n " + t.Namespace + " label " + t.resource + " -l " + cluster.Ours
}

// monitorProblems returns why a Prometheus or PrometheusAgent does not scrape by a PodMonitor.
func monitorProblems(p *cluster.Prometheus, t *target, monitor *cluster.PodMonitor) []problem {
	spec := &p.Spec
	found := running(p)
	found = append(found, selected(p, t, "podMonitorSelector", spec.PodMonitorSelector, spec.PodMonitorNamespaceSelector)...)
	if beyond := reaches(monitor); spec.IgnoreNamespaceSelectors && beyond {
		found = append(found, problem{Fail, "ignoreNamespaceSelectors: it finds pods in the PodMonitor's own namespace only, and no VM runs there",
			set(p, "ignoreNamespaceSelectors", "false") + " (prometheus.prometheusSpec in kube-prometheus-stack and rancher-monitoring)"})
	} else if label := spec.EnforcedNamespaceLabel; beyond && identifies(label) && !excluded(p, t) {
		// pkg/namespacelabeler: GetRelabelingConfigs, for targets and samples. With any other label, the series get one more.
		found = append(found, problem{Fail, fmt.Sprintf("enforcedNamespaceLabel: the label %s of each VM becomes %q", label, t.Namespace), exclude(p, t)})
	}
	return append(found, rejected(p, t)...)
}

// ruleProblems returns why a Prometheus or ThanosRuler does not evaluate a PrometheusRule.
func ruleProblems(p *cluster.Prometheus, t *target) []problem {
	found := running(p)
	found = append(found, selected(p, t, "ruleSelector", p.Spec.RuleSelector, p.Spec.RuleNamespaceSelector)...)
	if label := p.Spec.EnforcedNamespaceLabel; label != "" && !excluded(p, t) {
		// pkg/namespacelabeler: EnforceNamespaceLabel adds a matcher to each selector of each expression.
		found = append(found, problem{Fail, fmt.Sprintf("enforcedNamespaceLabel: its rules get only series with %s=%q, so none of a VM", label, t.Namespace), exclude(p, t)})
	}
	return append(found, rejected(p, t)...)
}

// running returns what keeps the operator from running the Prometheus as its object says.
func running(p *cluster.Prometheus) []problem {
	var found []problem
	if p.Spec.Replicas != nil && *p.Spec.Replicas == 0 && p.Spec.Mode != "DaemonSet" {
		found = append(found, problem{Fail, "replicas is 0", set(p, "replicas", "1")})
	}
	if p.Spec.Paused { // pkg/prometheus/server/operator.go: sync
		found = append(found, problem{Warn, "paused: the operator does not apply changes to it", set(p, "paused", "false")})
	}
	state := map[string]cluster.Condition{}
	for _, condition := range p.Status.Conditions {
		state[condition.Type] = condition
	}
	describe := "kubectl -n " + p.Namespace + " describe " + strings.ToLower(p.Kind) + " " + p.Name
	if reconciled := state["Reconciled"]; reconciled.Status == "False" {
		found = append(found, problem{Warn, "the operator cannot apply it: " + vm.Brief(reconciled.Message), describe})
	}
	switch available := state["Available"]; {
	case available.Status == "":
		found = append(found, problem{Warn, "no operator has reported its state: none may run it",
			"it must run, and watch the namespace " + p.Namespace + " (--prometheus-instance-namespaces, --namespaces): kubectl get pods -A -l app.kubernetes.io/name=prometheus-operator"})
	case available.Status == "False" && !(p.Spec.Replicas != nil && *p.Spec.Replicas == 0):
		found = append(found, problem{Fail, "none of its pods is ready", describe})
	}
	return found
}

// selected returns why selectors do not select an object, as the operator does (pkg/prometheus/resource_selector.go:
// selectObjects; pkg/prometheus/server/rules.go: selectRuleNamespaces). A nil selector selects none, a nil selector of
// namespaces the Prometheus' own, and an empty one all.
func selected(p *cluster.Prometheus, t *target, field string, selector, namespaces *metav1.LabelSelector) []problem {
	var found []problem
	matching, err := metav1.LabelSelectorAsSelector(selector)
	switch {
	case err != nil:
		found = append(found, problem{Fail, field + " is invalid: " + err.Error(), set(p, field, "{}")})
	case selector == nil:
		found = append(found, problem{Fail, "has no " + field + ", and so selects none", set(p, field, "{}")})
	case !matching.Matches(labels.Set(t.Labels)):
		found = append(found, problem{Fail, fmt.Sprintf("%s %q does not match its labels", field, matching), labelled(p, field, t.label(), t.Labels, selector)})
	}
	ofNamespaces := strings.TrimSuffix(field, "Selector") + "NamespaceSelector"
	matching, err = metav1.LabelSelectorAsSelector(namespaces)
	switch {
	case err != nil:
		found = append(found, problem{Fail, ofNamespaces + " is invalid: " + err.Error(), set(p, ofNamespaces, "{}")})
	case namespaces == nil && p.Namespace != t.Namespace:
		found = append(found, problem{Fail, "has no " + ofNamespaces + ", and so selects in its own namespace only", set(p, ofNamespaces, "{}")})
	case namespaces != nil && !matching.Matches(t.home):
		found = append(found, problem{Fail, fmt.Sprintf("%s %q does not match the namespace %s", ofNamespaces, matching, t.Namespace),
			labelled(p, ofNamespaces, "kubectl label namespace "+t.Namespace, t.home, namespaces)})
	}
	return found
}

// labelled returns the command that adds the labels that a selector requires. If these are not enough, or would replace another
// value, it returns the field to change.
func labelled(p *cluster.Prometheus, field, command string, has labels.Set, selector *metav1.LabelSelector) string {
	wanted := labels.Set{}
	for _, one := range selector.MatchExpressions {
		switch {
		case has.Has(one.Key):
		case one.Operator == metav1.LabelSelectorOpIn:
			wanted[one.Key] = one.Values[0]
		case one.Operator == metav1.LabelSelectorOpExists:
			wanted[one.Key] = "true"
		}
	}
	for key, value := range selector.MatchLabels {
		if has[key] != value {
			wanted[key] = value
		}
	}
	matching, err := metav1.LabelSelectorAsSelector(selector)
	replaces := slices.ContainsFunc(slices.Collect(maps.Keys(wanted)), has.Has)
	if err != nil || replaces || !matching.Matches(labels.Merge(has, wanted)) {
		return set(p, field, "a selector that matches")
	}
	return command + " " + strings.ReplaceAll(wanted.String(), ",", " ")
}

// set returns the field of an object to set. Who applies it, Helm or an operator, would undo a patch.
func set(p *cluster.Prometheus, field, value string) string {
	return fmt.Sprintf("set spec.%s to %s in %s", field, value, p)
}

func exclude(p *cluster.Prometheus, t *target) string {
	return fmt.Sprintf("add {resource: %s, namespace: %s, name: %s} to spec.excludedFromEnforcement of %s", t.resource, t.Namespace, t.Name, p)
}

// excluded reports whether the namespace label is not enforced on the object (pkg/namespacelabeler: IsExcluded).
func excluded(p *cluster.Prometheus, t *target) bool {
	if t.resource == cluster.PrometheusRules && slices.Contains(p.Spec.ExcludedRules, cluster.RuleReference{Namespace: t.Namespace, Name: t.Name}) {
		return true
	}
	return slices.ContainsFunc(p.Spec.ExcludedFromEnforcement, func(one cluster.ObjectReference) bool {
		return one.Resource == t.resource && one.Namespace == t.Namespace && (one.Name == "" || one.Name == t.Name)
	})
}

// reaches reports whether a PodMonitor looks for pods outside its own namespace.
func reaches(monitor *cluster.PodMonitor) bool {
	selector := monitor.Spec.NamespaceSelector
	return selector.Any || slices.ContainsFunc(selector.MatchNames, func(name string) bool { return name != monitor.Namespace })
}

// identifies reports whether rules and dashboards tell VMs apart by the label.
func identifies(label string) bool {
	return slices.Contains([]string{"namespace", "name", "node", "pod", "job", "cluster", "hypervisor_type"}, label)
}

// rejected returns why the operator does not give the object to the Prometheus, where it reports that.
func rejected(p *cluster.Prometheus, t *target) []problem {
	for _, binding := range t.Status.Bindings {
		if binding.Resource != p.Resource() || binding.Namespace != p.Namespace || binding.Name != p.Name {
			continue
		}
		for _, condition := range binding.Conditions {
			if condition.Type == "Accepted" && condition.Status == "False" {
				return []problem{{Fail, "the operator rejects it: " + vm.Brief(condition.Message), "kubectl -n " + t.Namespace + " describe " + t.resource + " " + t.Name}}
			}
		}
	}
	return nil
}
