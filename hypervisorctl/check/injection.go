package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/limits"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// exempt reports whether the API server never injects into pods of the namespace, whatever its labels.
func (r *run) exempt(namespace string) bool { return slices.Contains(r.place.Excluded, namespace) }

// namespaces are the cluster's.
type namespaces struct {
	enabled []string // with the label
	// misspelt have another value of the label, another label that looks like it, or an annotation in its place.
	misspelt map[string]string
	// all are those that exist, with and without the label.
	all map[string]bool
}

func (n *namespaces) add(namespace *corev1.Namespace) {
	n.all[namespace.Name] = true
	switch value, labelled := namespace.Labels[inject.AnnotationInject]; {
	case value == "enabled":
		n.enabled = append(n.enabled, namespace.Name)
	case labelled && value != "disabled" && value != "false":
		n.misspelt[namespace.Name] = "value " + cmp.Or(value, `""`)
	case !labelled:
		if wrong := lookalike(namespace); wrong != "" {
			n.misspelt[namespace.Name] = wrong
		}
	}
}

// lookalike returns what someone set instead of the label; empty if nothing looks like it.
func lookalike(namespace *corev1.Namespace) string {
	if _, annotated := namespace.Annotations[inject.AnnotationInject]; annotated {
		return "an annotation"
	}
	for _, key := range slices.Sorted(maps.Keys(namespace.Labels)) {
		if strings.Contains(key, "hypervisor-exporter") {
			return "label " + key
		}
	}
	return ""
}

// is reports whether a namespace is labelled for sidecars.
func (n *namespaces) is(name string) vm.Enabled {
	if slices.Contains(n.enabled, name) {
		return vm.EnabledYes
	}
	return vm.EnabledNo
}

// labels checks which namespaces are labelled for sidecars.
func (r *run) labels() ([]Line, error) {
	found := &namespaces{all: map[string]bool{}, misspelt: map[string]string{}}
	r.namespacesErr = cluster.Each(r.ctx, r.reader, r.reader.CoreV1().Namespaces().List, metav1.ListOptions{}, found.add)
	if r.namespacesErr != nil {
		return nil, r.namespacesErr
	}
	slices.Sort(found.enabled)
	r.namespaces = found
	lines := found.misspeltLines(r.request.Namespace)
	if len(found.enabled) == 0 {
		lines = append(lines, warn(labelHint(r.request.Namespace),
			"none of %d namespaces is labelled for sidecars", len(found.all)).see(pageEnable))
	} else {
		lines = append(lines, ok("%d of %d namespaces are labelled for sidecars", len(found.enabled), len(found.all)).about(slices.Clone(found.enabled)))
	}
	if outside := slices.DeleteFunc(slices.Clone(found.enabled), func(name string) bool { return !r.exempt(name) }); len(outside) > 0 {
		lines = append(lines, warn("run VMs in another namespace", "no pod of these namespaces gets a sidecar, whatever their labels").see(pageEnable).about(outside))
	}
	return lines, nil
}

// labelHint is the command that enables a namespace; empty for any.
func labelHint(namespace string) string {
	return "kubectl label --overwrite namespace " + cmp.Or(namespace, "NAMESPACE") + " " + inject.AnnotationInject + "=enabled"
}

// misspeltLines is about the one namespace, or about all if it is empty.
func (n *namespaces) misspeltLines(only string) []Line {
	var names, wrong []string
	for name, what := range n.misspelt {
		if only == "" || only == name {
			names, wrong = append(names, name), append(wrong, name+" ("+what+")")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	if len(names) == 1 {
		only = names[0]
	}
	return []Line{fail(labelHint(only),
		"these namespaces ask for sidecars in a way that has no effect: only the label %s=enabled has", inject.AnnotationInject).see(pageEnable).about(wrong)}
}

// injected reports whether VMs of the namespace get sidecars.
func (r *run) injected(namespace string) bool {
	return r.namespaces != nil && r.namespaces.is(namespace) == vm.EnabledYes && !r.exempt(namespace)
}

// limitRanges checks whether LimitRanges of enabled namespaces admit the sidecar.
func (r *run) limitRanges() ([]Line, error) {
	if r.namespaces == nil {
		return nil, nil
	}
	ranges := map[string][]corev1.LimitRange{}
	err := cluster.Each(r.ctx, r.reader, r.reader.CoreV1().LimitRanges(r.request.Namespace).List, metav1.ListOptions{}, func(one *corev1.LimitRange) {
		if r.injected(one.Namespace) {
			ranges[one.Namespace] = append(ranges[one.Namespace], *one)
		}
	})
	if err != nil {
		return nil, err
	}
	launcher, err := cluster.Launcher("")
	if err != nil {
		return nil, err
	}
	return limitLines(r.config, ranges, limits.Samples(launcher), r.byPolicy)
}

// limitLines has a line for each rule that refuses VMs because of the sidecar. Behind a webhook they start without it,
// after some tries; the policy cannot do that.
func limitLines(cfg inject.Config, byNamespace map[string][]corev1.LimitRange, pods []*corev1.Pod, byPolicy bool) ([]Line, error) {
	type problem struct{ text, hint string }
	found := map[problem][]string{}
	for namespace, ranges := range byNamespace {
		refused, err := limits.Refused(cfg, ranges, pods, nil)
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", namespace, err)
		}
		if len(refused) > 0 {
			key := problem{refused[0].Text, limitHint(limits.Fix(cfg, ranges, pods))}
			found[key] = append(found[key], namespace+"/"+refused[0].Range)
		}
	}
	var lines []Line
	for key, objects := range found {
		line := warn(key.hint, "LimitRanges refuse VMs with the sidecar, so VMs start without it: %s", key.text)
		if byPolicy {
			line = fail(key.hint, "LimitRanges refuse VMs with the sidecar, so VMs do not start: %s", key.text)
		}
		lines = append(lines, line.see(pageLimits).about(objects))
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Or(cmp.Compare(a.Text, b.Text), cmp.Compare(a.Hint, b.Hint)) })
	return lines, nil
}

// limitHint returns what to set in the VMs' templates.
func limitHint(annotations map[string]string) string {
	if annotations == nil {
		return "change the LimitRange, or opt the VMs out: spec.template.metadata.annotations " + inject.AnnotationInject + `: "false"`
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		words = append(words, key+": "+annotations[key])
	}
	return "change the LimitRange, or set in the VMs' spec.template.metadata.annotations: " + strings.Join(words, ", ")
}

// quotas checks whether ResourceQuotas of enabled namespaces have room for one more sidecar.
func (r *run) quotas() ([]Line, error) {
	if r.namespaces == nil {
		return nil, nil
	}
	var lacking []string
	err := cluster.Each(r.ctx, r.reader, r.reader.CoreV1().ResourceQuotas(r.request.Namespace).List, metav1.ListOptions{}, func(one *corev1.ResourceQuota) {
		if what := limits.Lacking(r.config, one); what != "" && r.injected(one.Namespace) {
			lacking = append(lacking, fmt.Sprintf("%s/%s (%s)", one.Namespace, one.Name, what))
		}
	})
	if err != nil || len(lacking) == 0 {
		return nil, err
	}
	then := "starts without it"
	if r.byPolicy {
		then = "does not start"
	}
	return []Line{warn("raise the quotas", "ResourceQuotas have no room for a sidecar: a VM that only just fits %s", then).see(pageLimits).about(lacking)}, nil
}
