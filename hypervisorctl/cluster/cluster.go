// Package cluster reads from the API server what the commands need, page by page and each request with a deadline. A
// missing object and a missing right are different errors: apierrors.IsNotFound and AccessError.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
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

// Cluster reads an API server as one user. Its methods may be called from many goroutines.
type Cluster struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	// chunk is how many objects one request for a list asks for.
	chunk int64
}

// New returns a client of the API server of the configuration. Each request takes at most config.Timeout.
func New(config *rest.Config, chunk int64) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create a client of the API server: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create a client of the API server: %w", err)
	}
	return &Cluster{client: client, dynamic: dynamicClient, chunk: chunk}, nil
}

// get reads one object. With an error it returns the zero value: client-go returns an empty object, which a caller could
// take for a real one.
func get[T any](
	ctx context.Context, read func(context.Context, string, metav1.GetOptions) (T, error),
	resource schema.GroupResource, namespace, name string,
) (T, error) {
	object, err := read(ctx, name, metav1.GetOptions{})
	if err != nil {
		var none T
		return none, access(err, "get", resource, "", namespace, name)
	}
	return object, nil
}

// each calls use for each object of a list, and holds two pages of them at most. If the list takes so long that its
// continuation expires, it is listed again as a whole (pager: FullListIfExpired), so use may get an object twice.
func each[L runtime.Object, T any](
	ctx context.Context, c *Cluster, list func(context.Context, metav1.ListOptions) (L, error),
	resource schema.GroupResource, namespace string, options metav1.ListOptions, use func(*T),
) error {
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	})
	pages.PageSize, pages.PageBufferSize = c.chunk, 1
	err := pages.EachListItem(ctx, options, func(object runtime.Object) error {
		one, ok := any(object).(*T)
		if !ok {
			return fmt.Errorf("the API server's list contains a %T", object)
		}
		use(one)
		return nil
	})
	return access(err, "list", resource, "", namespace, "")
}

// EachVMI calls use for each VMI of a namespace, or of all namespaces if it is empty, that matches the label selector.
func (c *Cluster) EachVMI(ctx context.Context, namespace, selector string, use func(vm.VMI)) error {
	return each(ctx, c, c.dynamic.Resource(vmis()).Namespace(namespace).List, vmis().GroupResource(), namespace,
		metav1.ListOptions{LabelSelector: selector}, func(object *unstructured.Unstructured) { use(vm.FromObject(object)) })
}

// EachLauncher calls use for each virt-launcher pod of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachLauncher(ctx context.Context, namespace string, cfg inject.Config, use func(vm.Launcher)) error {
	return each(ctx, c, c.client.CoreV1().Pods(namespace).List, corev1.Resource("pods"), namespace,
		metav1.ListOptions{LabelSelector: vm.LauncherSelector}, func(pod *corev1.Pod) { use(vm.FromPod(cfg, pod)) })
}

// EachNamespace calls use for each namespace.
func (c *Cluster) EachNamespace(ctx context.Context, use func(*corev1.Namespace)) error {
	return each(ctx, c, c.client.CoreV1().Namespaces().List, corev1.Resource("namespaces"), "", metav1.ListOptions{}, use)
}

// EachLimitRange calls use for each LimitRange of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachLimitRange(ctx context.Context, namespace string, use func(*corev1.LimitRange)) error {
	list := c.client.CoreV1().LimitRanges(namespace).List
	return each(ctx, c, list, corev1.Resource("limitranges"), namespace, metav1.ListOptions{}, use)
}

// EachQuota calls use for each ResourceQuota of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachQuota(ctx context.Context, namespace string, use func(*corev1.ResourceQuota)) error {
	list := c.client.CoreV1().ResourceQuotas(namespace).List
	return each(ctx, c, list, corev1.Resource("resourcequotas"), namespace, metav1.ListOptions{}, use)
}

// EachFailedCreate calls use for each event about pods that could not be created for objects of a kind.
func (c *Cluster) EachFailedCreate(ctx context.Context, namespace, kind string, use func(*corev1.Event)) error {
	failed := metav1.ListOptions{FieldSelector: "reason=" + vm.RefusalReason + ",involvedObject.kind=" + kind}
	return each(ctx, c, c.client.CoreV1().Events(namespace).List, corev1.Resource("events"), namespace, failed, use)
}

// VMI reads one VMI.
func (c *Cluster) VMI(ctx context.Context, key vm.Key) (vm.VMI, error) {
	object, err := c.object(ctx, vmis(), key.Namespace, key.Name)
	if err != nil {
		return vm.VMI{}, err
	}
	return vm.FromObject(object), nil
}

// Node reads a node.
func (c *Cluster) Node(ctx context.Context, name string) (*corev1.Node, error) {
	return get(ctx, c.client.CoreV1().Nodes().Get, corev1.Resource("nodes"), "", name)
}

// NamespaceLabels reads one namespace's labels.
func (c *Cluster) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace, err := get(ctx, c.client.CoreV1().Namespaces().Get, corev1.Resource("namespaces"), "", name)
	if err != nil {
		return nil, err
	}
	return namespace.Labels, nil
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

// MayCreate returns an AccessError unless the user may create a subresource of a namespace's pods. Every authenticated user
// may ask (ClusterRole system:basic-user).
func (c *Cluster) MayCreate(ctx context.Context, subresource, namespace string) error {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: subresource, Namespace: namespace},
	}}
	answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask the API server which rights you have: %w", err)
	}
	if !answer.Status.Allowed {
		what := "create pods/" + subresource
		return &AccessError{what: what + " in the namespace " + namespace, canI: what + " -n " + namespace}
	}
	return nil
}
