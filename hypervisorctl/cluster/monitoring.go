package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

// Prometheus is an object of the Prometheus operator that selects PodMonitors: a Prometheus or a PrometheusAgent.
type Prometheus struct {
	Kind, Namespace, Name string
	// Monitors selects PodMonitors by their labels; nil selects none.
	Monitors labels.Selector
	// Namespaces selects their namespaces by labels; nil means its own only.
	Namespaces labels.Selector
	// Narrow says that a PodMonitor finds pods of its own namespace only, whatever its namespaceSelector
	// (ignoreNamespaceSelectors): OpenShift's monitoring of user workloads and rancher-monitoring are so.
	Narrow bool
}

// PodMonitor reads the labels of the VMs' PodMonitor.
func (c *Cluster) PodMonitor(ctx context.Context, namespace string) (labels.Set, error) {
	resource := monitoring("podmonitors")
	monitor, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, product.PodMonitor, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", resource.GroupResource(), "", namespace, product.PodMonitor)
	}
	return monitor.GetLabels(), nil
}

// Prometheuses lists what the operator runs.
func (c *Cluster) Prometheuses(ctx context.Context) ([]Prometheus, error) {
	resource := monitoring("prometheuses")
	list, err := c.dynamic.Resource(resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, access(err, "list", resource.GroupResource(), "", "", "")
	}
	var found []Prometheus
	for i := range list.Items {
		one, err := prometheusOf(&list.Items[i])
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func prometheusOf(object *unstructured.Unstructured) (Prometheus, error) {
	one := Prometheus{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
	var err error
	if one.Narrow, _, err = unstructured.NestedBool(object.Object, "spec", "ignoreNamespaceSelectors"); err != nil {
		return one, fmt.Errorf("read ignoreNamespaceSelectors of %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	if one.Monitors, err = selectorOf(object, "podMonitorSelector"); err != nil {
		return one, err
	}
	one.Namespaces, err = selectorOf(object, "podMonitorNamespaceSelector")
	return one, err
}

// selectorOf reads a label selector of a spec. A missing one selects nothing, an empty one everything (Prometheus operator,
// api.md).
func selectorOf(object *unstructured.Unstructured, field string) (labels.Selector, error) {
	raw, found, err := unstructured.NestedMap(object.Object, "spec", field)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s %s: %w", field, object.GetKind(), object.GetName(), err)
	}
	if !found || raw == nil {
		return nil, nil
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil, fmt.Errorf("read %s of %s %s: %w", field, object.GetKind(), object.GetName(), err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s %s: %w", field, object.GetKind(), object.GetName(), err)
	}
	return parsed, nil
}
