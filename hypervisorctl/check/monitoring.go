package check

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

const monitoringSection section = "monitoring"

// selectionLine judges whether a Prometheus selects the PodMonitor, as the operator does: by its labels
// (podMonitorSelector) and its namespace's labels (podMonitorNamespaceSelector). Namespace is the PodMonitor's.
func selectionLine(all []cluster.Prometheus, monitor labels.Set, namespace string, namespaceLabels labels.Set) Line {
	const s = monitoringSection
	if len(all) == 0 {
		return s.fail("create a Prometheus object, or use manifests/overlays/without-prometheus-operator", "the Prometheus operator runs no Prometheus")
	}
	var reasons []string
	for _, one := range all {
		reason := refusal(one, monitor, namespace, namespaceLabels)
		if reason == "" {
			return s.ok("PodMonitor %s is selected by %s %s/%s", product.PodMonitor, one.Kind, one.Namespace, one.Name)
		}
		reasons = append(reasons, fmt.Sprintf("%s/%s: %s", one.Namespace, one.Name, reason))
	}
	return s.fail("label the PodMonitor or its namespace so that a selector matches: "+strings.Join(reasons, "; "),
		"PodMonitor %s is selected by none of %d Prometheus", product.PodMonitor, len(all))
}

// refusal says why a Prometheus does not select the PodMonitor; empty if it does.
func refusal(one cluster.Prometheus, monitor labels.Set, namespace string, namespaceLabels labels.Set) string {
	switch {
	case one.Narrow:
		return "has ignoreNamespaceSelectors, and finds no pod of another namespace than the PodMonitor's (docs/platforms.md)"
	case one.Monitors == nil:
		return "has no podMonitorSelector, and selects none"
	case !one.Monitors.Matches(monitor):
		return fmt.Sprintf("podMonitorSelector %q does not match the labels %q", one.Monitors, monitor)
	case one.Namespaces == nil && one.Namespace != namespace:
		return "has no podMonitorNamespaceSelector, and selects in its own namespace only"
	case one.Namespaces != nil && !one.Namespaces.Matches(namespaceLabels):
		return fmt.Sprintf("podMonitorNamespaceSelector %q does not match the namespace %s", one.Namespaces, namespace)
	default:
		return ""
	}
}
