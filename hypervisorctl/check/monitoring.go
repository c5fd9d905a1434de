package check

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// monitoring checks whether a Prometheus finds the VMs.
func (r *run) monitoring() ([]Line, error) {
	// The PodMonitor is in the relay's namespace, where the token is, or in the exporter's if there is no relay
	// (manifests/overlays/direct).
	namespace := r.request.Relay
	if r.config.Exposure == inject.Direct {
		namespace = r.request.Exporter
	}
	monitor, err := r.reader.PodMonitor(r.ctx, namespace)
	if absent(err) {
		return []Line{warn("kubectl apply -k manifests; without the Prometheus operator, use manifests/overlays/without-prometheus-operator/scrape-config.yaml "+
			"and check with --prometheus-url", "PodMonitor %s does not exist, or the Prometheus operator is not installed", cluster.PodMonitor)}, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := r.reader.Prometheuses(r.ctx)
	if err != nil {
		return []Line{unread("Prometheus objects", err)}, nil
	}
	home, err := cluster.Get(r.ctx, r.reader.CoreV1().Namespaces().Get, namespace)
	if err != nil {
		return []Line{unread("labels of the namespace "+namespace, err)}, nil
	}
	return []Line{selectionLine(all, monitor, namespace, home.Labels)}, nil
}

// selectionLine judges whether a Prometheus selects the PodMonitor, as the operator does: by its labels
// (podMonitorSelector) and its namespace's labels (podMonitorNamespaceSelector). Namespace is the PodMonitor's.
func selectionLine(all []cluster.Prometheus, monitor labels.Set, namespace string, namespaceLabels labels.Set) Line {
	if len(all) == 0 {
		return fail("create a Prometheus object, or use manifests/overlays/without-prometheus-operator", "there is no Prometheus object")
	}
	var reasons []string
	for _, one := range all {
		reason := ignores(one, monitor, namespace, namespaceLabels)
		if reason == "" {
			return ok("PodMonitor %s is selected by %s %s/%s", cluster.PodMonitor, one.Kind, one.Namespace, one.Name)
		}
		reasons = append(reasons, fmt.Sprintf("%s/%s: %s", one.Namespace, one.Name, reason))
	}
	return fail("label the PodMonitor or its namespace so that a selector matches: "+strings.Join(reasons, "; "),
		"PodMonitor %s is selected by none of %s", cluster.PodMonitor, survey.Count(len(all), "Prometheus object", "Prometheus objects"))
}

// ignores returns why a Prometheus does not select the PodMonitor; empty if it does.
func ignores(one cluster.Prometheus, monitor labels.Set, namespace string, namespaceLabels labels.Set) string {
	monitors, err := metav1.LabelSelectorAsSelector(one.Spec.PodMonitorSelector)
	if err != nil {
		return fmt.Sprintf("podMonitorSelector: %s", err)
	}
	namespaces, err := metav1.LabelSelectorAsSelector(one.Spec.PodMonitorNamespaceSelector)
	switch {
	case err != nil:
		return fmt.Sprintf("podMonitorNamespaceSelector: %s", err)
	case one.Spec.IgnoreNamespaceSelectors:
		return "has ignoreNamespaceSelectors, and finds pods only in the PodMonitor's own namespace (docs/platforms.md)"
	case one.Spec.PodMonitorSelector == nil:
		return "has no podMonitorSelector, and selects none"
	case !monitors.Matches(monitor):
		return fmt.Sprintf("podMonitorSelector %q does not match the labels %q", monitors, monitor)
	case one.Spec.PodMonitorNamespaceSelector != nil && !namespaces.Matches(namespaceLabels):
		return fmt.Sprintf("podMonitorNamespaceSelector %q does not match the namespace %s", namespaces, namespace)
	case one.Spec.PodMonitorNamespaceSelector == nil && one.Namespace != namespace:
		return "has no podMonitorNamespaceSelector, and selects in its own namespace only"
	default:
		return ""
	}
}
