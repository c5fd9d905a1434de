package scrape

import (
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// A Rule is one relabelling. Fields that are empty are not written.
type Rule struct {
	Action      string // empty is Prometheus' default, replace
	Source      []string
	Regex       string
	TargetLabel string
	Replacement string
	Why         string // a comment
}

const (
	// dnsLabel and dnsSubdomain are what the API server allows as the name of a namespace, and
	// of a pod, a node or a VMI (RFC 1123, by k8s.io/apimachinery's validation). It does not
	// check the name in an owner reference, which can have any length.
	dnsLabel     = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
	dnsSubdomain = "[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?"
)

const (
	metaNamespace  = "__meta_kubernetes_namespace"
	metaController = "__meta_kubernetes_pod_controller_name"
	metaNode       = "__meta_kubernetes_pod_node_name"
	metaPod        = "__meta_kubernetes_pod_name"
)

// Targets says which pods are targets. No label or annotation is read: the owner of a VM can
// write all of them, and two that become one name here (kubevirt.io and kubevirt-io) are one
// at random.
func Targets() []Rule {
	return []Rule{
		{Action: "keep", Source: []string{"__meta_kubernetes_pod_container_name"}, Regex: "hypervisor-exporter",
			Why: "Another container may call its port the same."},
		{Action: "keep", Source: []string{"__meta_kubernetes_pod_controller_kind"}, Regex: "VirtualMachineInstance"},
		{Action: "keep", Source: []string{metaController}, Regex: dnsSubdomain,
			Why: "The API server does not check the name in an owner reference, and it becomes a label."},
		{Action: "keep", Source: []string{metaNamespace}, Regex: dnsLabel},
		{Action: "keep", Source: []string{metaNode}, Regex: dnsSubdomain},
		{Action: "keep", Source: []string{metaPod}, Regex: dnsSubdomain},
	}
}

// targetCluster is a target's label cluster after an equals sign. It is never empty, so that no page can set it.
const targetCluster = "target_cluster"

// Names says what a target is called. The VM's name is its controller's, which its owner
// cannot change.
func Names() []Rule {
	return []Rule{
		{Source: []string{metaNamespace}, TargetLabel: "namespace"},
		{Source: []string{metaController}, TargetLabel: "name"},
		{Source: []string{metaNode}, TargetLabel: "node"},
		{Source: []string{metaPod}, TargetLabel: "pod"},
	}
}

// Clusters keeps the label cluster that a scrape class set.
func Clusters() []Rule {
	return []Rule{{Source: []string{"cluster"}, TargetLabel: targetCluster, Replacement: "=$1",
		Why: "Never empty, so that no page can set it: see the rules for the page."}}
}

// targetLabels are those that a target has: Names, and what Prometheus, its operator and its administrator add.
var targetLabels = []string{"__name__", "job", "instance", "namespace", "name", "node", "pod", "container", "endpoint", "cluster"}

// Page says which series of a page are kept. Labels of the page can have the names of target
// labels (they become exported_…), of external labels such as cluster, or any other: none of
// them is kept that a genuine page does not have.
func Page() []Rule {
	labels := pageLabels()
	return []Rule{
		{Action: "keep", Source: append([]string{"__name__"}, labels...), Regex: pattern(labels),
			Why: "Each metric with the labels that it has, and the values that they can have. The labels are in the order of sourceLabels."},
		{Source: []string{targetCluster}, Regex: "=(.*)", TargetLabel: "cluster",
			Why: "The rules tell clusters apart by this label, so it must be the target's, as that of KubeVirt's series is, or none."},
		{Action: "labelkeep", Regex: strings.Join(append(slices.Clone(targetLabels), labels...), "|"),
			Why: "A label that no target has, such as replica, would win over Prometheus' external labels."},
	}
}

// pageLabels lists each label of a genuine page once.
func pageLabels() []string {
	var labels []string
	for _, shape := range exposition.Shapes() {
		for _, label := range shape.Labels {
			if !slices.Contains(labels, label.Name) {
				labels = append(labels, label.Name)
			}
		}
	}
	return labels
}

// pattern matches the values of the metric's name and these labels, joined by semicolons.
// Metrics without labels are one alternative.
func pattern(labels []string) string {
	var plain, labelled []string
	for _, shape := range exposition.Shapes() {
		if len(shape.Labels) == 0 {
			plain = append(plain, shape.Metric)
			continue
		}
		values := []string{shape.Metric}
		for _, label := range labels {
			i := slices.IndexFunc(shape.Labels, func(l exposition.ShapeLabel) bool { return l.Name == label })
			if i < 0 {
				values = append(values, "")
			} else {
				values = append(values, shape.Labels[i].Pattern)
			}
		}
		labelled = append(labelled, strings.Join(values, ";"))
	}
	alternatives := append(labelled, "("+strings.Join(plain, "|")+")"+strings.Repeat(";", len(labels)))
	return strings.Join(alternatives, "|")
}
