// Package cluster installs what the end-to-end tests need into a cluster, and reads its state.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Client connects to the cluster. It may be used by several goroutines.
type Client struct {
	kubernetes.Interface
	Config  *rest.Config
	Dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// Connect returns a client from a kubeconfig.
func Connect(kubeconfig string) (*Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's kubeconfig (start the cluster with up): %w", err)
	}
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = rest.NoWarnings{}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(typed.Discovery()))
	return &Client{Interface: typed, Config: config, Dynamic: untyped, mapper: mapper}, nil
}

// Resource returns the client of a kind in a namespace.
func (c *Client) Resource(kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil { // its CustomResourceDefinition may be new
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", kind.Kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.Dynamic.Resource(mapping.Resource).Namespace(namespace), nil
	}
	return c.Dynamic.Resource(mapping.Resource), nil
}

// Apply applies objects as `kubectl apply --server-side` does, in their order.
func (c *Client) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	force := true
	for _, object := range objects {
		resource, err := c.Resource(object.GroupVersionKind(), object.GetNamespace())
		if err != nil {
			return err
		}
		body, err := json.Marshal(object)
		if err != nil {
			return err
		}
		_, err = resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "e2e", Force: &force})
		if err != nil {
			return fmt.Errorf("apply %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}

// Delete deletes objects, the last first; one that is not there is not an error.
func (c *Client) Delete(ctx context.Context, objects ...*unstructured.Unstructured) error {
	var failed error
	for _, object := range slices.Backward(objects) {
		resource, err := c.Resource(object.GroupVersionKind(), object.GetNamespace())
		if err == nil {
			background := metav1.DeletePropagationBackground
			err = resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		}
		if err != nil && !IsNotFound(err) {
			failed = errors.Join(failed, fmt.Errorf("delete %s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return failed
}

// Get returns an object of a kind.
func (c *Client) Get(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	resource, err := c.Resource(kind, namespace)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, name, metav1.GetOptions{})
}

// Patch merges a JSON text into an object.
func (c *Client) Patch(ctx context.Context, kind schema.GroupVersionKind, namespace, name, text string) error {
	resource, err := c.Resource(kind, namespace)
	if err != nil {
		return err
	}
	_, err = resource.Patch(ctx, name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
	return err
}

// PatchNode merges a JSON text into a node.
func (c *Client) PatchNode(ctx context.Context, name, text string) error {
	return c.Patch(ctx, corev1.SchemeGroupVersion.WithKind("Node"), "", name, text)
}

// Objects reads a stream of YAML documents.
func Objects(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		if len(object.Object) > 0 { // an empty document between two separators
			objects = append(objects, object)
		}
	}
}
