package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

// RelayTrust is how a client verifies the relay.
type RelayTrust struct {
	// HTTPS is false if the installation serves the relay without TLS and without authorization.
	HTTPS bool
	// ServerName is the name that the certificate must have.
	ServerName string
	// Authority is the CA that must have signed it, in PEM.
	Authority []byte
}

// RelayTrust reads from the VMs' PodMonitor how Prometheus verifies the relay, and the CA named there, so that a client
// trusts what Prometheus trusts. A given CA, in PEM, is used instead of the one named.
func (c *Cluster) RelayTrust(ctx context.Context, namespace string, given []byte) (RelayTrust, error) {
	resource := monitoring("podmonitors")
	monitor, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, product.PodMonitor, metav1.GetOptions{})
	if err != nil {
		return RelayTrust{}, access(err, "get", resource.GroupResource(), "", namespace, product.PodMonitor)
	}
	endpoints, _, err := unstructured.NestedSlice(monitor.Object, "spec", "podMetricsEndpoints")
	if err != nil || len(endpoints) == 0 {
		return RelayTrust{}, errors.New("the PodMonitor " + product.PodMonitor + " has no endpoint")
	}
	endpoint, ok := endpoints[0].(map[string]any)
	if !ok {
		return RelayTrust{}, errors.New("the PodMonitor " + product.PodMonitor + " has an endpoint of an unknown form")
	}
	// A field of another form counts as missing: then the CA is missing, which is an error below.
	scheme, _, _ := unstructured.NestedString(endpoint, "scheme")
	if scheme != "https" && scheme != "HTTPS" {
		return RelayTrust{}, nil
	}
	trust := RelayTrust{HTTPS: true}
	trust.ServerName, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "serverName")
	if trust.Authority = given; given == nil {
		trust.Authority, err = c.authority(ctx, namespace, endpoint)
	}
	return trust, err
}

// authority reads the CA that the endpoint names. It does not read a Secret, which has the key of the relay's certificate.
func (c *Cluster) authority(ctx context.Context, namespace string, endpoint map[string]any) ([]byte, error) {
	reference := func(kind string) (name, key string) {
		name, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "ca", kind, "name")
		key, _, _ = unstructured.NestedString(endpoint, "tlsConfig", "ca", kind, "key")
		return name, key
	}
	if name, key := reference("configMap"); name != "" {
		object, err := c.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, access(err, "get", corev1.Resource("configmaps"), "", namespace, name)
		}
		if object.Data[key] == "" {
			return nil, fmt.Errorf("the ConfigMap %s has no %s: see the log of the certificate process", name, key)
		}
		return []byte(object.Data[key]), nil
	}
	if name, key := reference("secret"); name != "" {
		return nil, fmt.Errorf("its CA is in the Secret %s beside a key, so it is not read from there; have its %s, which is public, copied to a file, and pass that with --relay-ca-file", name, key)
	}
	return nil, errors.New("the PodMonitor " + product.PodMonitor + " names no CA for the relay's certificate; pass one with --relay-ca-file")
}
