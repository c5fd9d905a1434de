// Package cluster reads from the API server what the commands need, page by page and each request with a deadline. What
// is missing and what is not allowed are different errors: apierrors.IsNotFound and AccessError.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
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

// Cluster reads an API server as one user. Its methods may be called from many goroutines.
type Cluster struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	// chunk is how many objects one request for a list asks for.
	chunk int64
}

// New makes a client of the API server of the configuration. Each request takes at most config.Timeout.
func New(config *rest.Config, chunk int64) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &Cluster{client: client, dynamic: dynamicClient, chunk: chunk}, nil
}

// EachVMI calls use for each VMI of a namespace, or of all namespaces if it is empty, that matches the label selector. It
// holds two pages of them at most.
func (c *Cluster) EachVMI(ctx context.Context, namespace, selector string, use func(vm.VMI)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.dynamic.Resource(vmis()).Namespace(namespace).List(ctx, options)
	}
	err := c.each(ctx, list, selector, func(object runtime.Object) error {
		item, ok := object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("the API server's list of VMIs holds a %T", object)
		}
		use(vm.FromObject(item))
		return nil
	})
	return access(err, "list", vmis().GroupResource(), "", namespace, "")
}

// EachLauncher calls use for each virt-launcher pod of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachLauncher(ctx context.Context, namespace string, cfg inject.Config, use func(vm.Launcher)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.client.CoreV1().Pods(namespace).List(ctx, options)
	}
	err := c.each(ctx, list, vm.LauncherSelector, func(object runtime.Object) error {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("the API server's list of pods holds a %T", object)
		}
		use(vm.FromPod(cfg, pod))
		return nil
	})
	return access(err, "list", corev1.Resource("pods"), "", namespace, "")
}

// each lists in pages of c.chunk. If a list takes so long that its continuation expires, it is listed again as a whole
// (pager: FullListIfExpired), so that use may get an object twice.
func (c *Cluster) each(ctx context.Context, list pager.ListPageFunc, selector string, use func(runtime.Object) error) error {
	pages := pager.New(list)
	pages.PageSize = c.chunk
	pages.PageBufferSize = 1
	return pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: selector}, use)
}

// VMI reads one VMI.
func (c *Cluster) VMI(ctx context.Context, key vm.Key) (vm.VMI, error) {
	object, err := c.dynamic.Resource(vmis()).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return vm.VMI{}, access(err, "get", vmis().GroupResource(), "", key.Namespace, key.Name)
	}
	return vm.FromObject(object), nil
}

// Node reads a node.
func (c *Cluster) Node(ctx context.Context, name string) (*corev1.Node, error) {
	node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", corev1.Resource("nodes"), "", "", name)
	}
	return node, nil
}

// Version is the API server's, such as v1.36.3.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	content, err := c.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	var info version.Info
	if err := json.Unmarshal(content, &info); err != nil {
		return "", fmt.Errorf("read the API server's version: %w", err)
	}
	return info.GitVersion, nil
}

// EachNamespace calls use for each namespace.
func (c *Cluster) EachNamespace(ctx context.Context, use func(name string, labels map[string]string)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.client.CoreV1().Namespaces().List(ctx, options)
	}
	err := c.each(ctx, list, "", func(object runtime.Object) error {
		namespace, ok := object.(*corev1.Namespace)
		if !ok {
			return fmt.Errorf("the API server's list of namespaces holds a %T", object)
		}
		use(namespace.Name, namespace.Labels)
		return nil
	})
	return access(err, "list", corev1.Resource("namespaces"), "", "", "")
}

// Namespace reads one namespace's labels.
func (c *Cluster) Namespace(ctx context.Context, name string) (map[string]string, error) {
	namespace, err := c.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", corev1.Resource("namespaces"), "", "", name)
	}
	return namespace.Labels, nil
}
