package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources of other projects. Their Go types would double the size of the program.
func vmis() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubevirt.io", Version: "v1", Resource: "virtualmachineinstances"}
}

func kubevirts() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubevirt.io", Version: "v1", Resource: "kubevirts"}
}

func monitoring(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: resource}
}

// object reads one object of another project.
func (c *Cluster) object(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	return object, access(err, "get", resource.GroupResource(), "", namespace, name)
}

// Prometheus is an object of the Prometheus operator that selects PodMonitors.
type Prometheus struct {
	Kind, Namespace, Name string
	// Monitors selects PodMonitors by their labels; nil selects none.
	Monitors labels.Selector
	// Namespaces selects their namespaces by labels; nil means its own only.
	Namespaces labels.Selector
	// Narrow: a PodMonitor finds pods of its own namespace only, whatever its namespaceSelector
	// (ignoreNamespaceSelectors): OpenShift's monitoring of user workloads and rancher-monitoring are so.
	Narrow bool
}

// PodMonitor reads the labels of the VMs' PodMonitor.
func (c *Cluster) PodMonitor(ctx context.Context, namespace string) (labels.Set, error) {
	monitor, err := c.object(ctx, monitoring("podmonitors"), namespace, PodMonitor)
	if err != nil {
		return nil, err
	}
	return monitor.GetLabels(), nil
}

// Prometheuses lists the Prometheus objects.
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
			return nil, fmt.Errorf("read %s %s: %w", list.Items[i].GetKind(), list.Items[i].GetName(), err)
		}
		found = append(found, one)
	}
	return found, nil
}

func prometheusOf(object *unstructured.Unstructured) (Prometheus, error) {
	one := Prometheus{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
	var err error
	if one.Narrow, _, err = unstructured.NestedBool(object.Object, "spec", "ignoreNamespaceSelectors"); err != nil {
		return one, err
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
	if err != nil || !found || raw == nil {
		return nil, err
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return metav1.LabelSelectorAsSelector(&selector)
}

// RelayTrust is how a client verifies the relay.
type RelayTrust struct {
	// HTTPS is false if the installation serves the relay without TLS and without authorization.
	HTTPS bool
	// ServerName is the name that the certificate must have.
	ServerName string
	// CA must have signed the certificate; PEM.
	CA []byte
}

// RelayTrust reads from the VMs' PodMonitor how Prometheus verifies the relay, and the CA named there, so that a client
// trusts what Prometheus trusts. A given CA, in PEM, is used instead of the one named.
func (c *Cluster) RelayTrust(ctx context.Context, namespace string, givenCA []byte) (RelayTrust, error) {
	monitor, err := c.object(ctx, monitoring("podmonitors"), namespace, PodMonitor)
	if err != nil {
		return RelayTrust{}, err
	}
	endpoints, _, err := unstructured.NestedSlice(monitor.Object, "spec", "podMetricsEndpoints")
	if err != nil || len(endpoints) == 0 {
		return RelayTrust{}, errors.New("the PodMonitor " + PodMonitor + " has no endpoint")
	}
	endpoint, ok := endpoints[0].(map[string]any)
	if !ok {
		return RelayTrust{}, errors.New("the PodMonitor " + PodMonitor + " has an endpoint that is not an object")
	}
	// A field of another form counts as missing: then the CA is missing, which is an error below.
	scheme, _, _ := unstructured.NestedString(endpoint, "scheme")
	if scheme != "https" && scheme != "HTTPS" {
		return RelayTrust{}, nil
	}
	trust := RelayTrust{HTTPS: true}
	trust.ServerName, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "serverName")
	if trust.CA = givenCA; givenCA == nil {
		trust.CA, err = c.relayCA(ctx, namespace, endpoint)
	}
	return trust, err
}

// relayCA reads the CA that the endpoint names. It does not read a Secret, which has the key of the relay's certificate.
func (c *Cluster) relayCA(ctx context.Context, namespace string, endpoint map[string]any) ([]byte, error) {
	reference := func(kind string) (name, key string) {
		name, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "ca", kind, "name")
		key, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "ca", kind, "key")
		return name, key
	}
	if name, key := reference("configMap"); name != "" {
		object, err := get(ctx, c.client.CoreV1().ConfigMaps(namespace).Get, corev1.Resource("configmaps"), namespace, name)
		if err != nil {
			return nil, err
		}
		if object.Data[key] == "" {
			return nil, fmt.Errorf("the ConfigMap %s has no %s: check the log of the certificate process", name, key)
		}
		return []byte(object.Data[key]), nil
	}
	if name, key := reference("secret"); name != "" {
		return nil, fmt.Errorf("the relay's CA is in the Secret %s beside its key, and hypervisorctl does not read keys: "+
			"ask for its %s in a file, and pass that with --relay-ca-file", name, key)
	}
	return nil, errors.New("the PodMonitor " + PodMonitor + " names no CA for the relay's certificate; pass one with --relay-ca-file")
}
