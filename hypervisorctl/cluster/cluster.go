// Package cluster reads from the API server what the commands need, page by page and each request with a deadline. A
// missing object and a missing right are different errors: apierrors.IsNotFound and AccessError.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Cluster is a client of an API server, as one user. Its methods may be called from many goroutines.
type Cluster struct {
	kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
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
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create a client of the API server: %w", err)
	}
	return &Cluster{Interface: client, dynamic: dynamicClient, metadata: metadataClient, chunk: chunk}, nil
}

// Get reads one object. With an error it returns the zero value: client-go returns an empty object, which a caller could
// take for a real one.
func Get[T any](ctx context.Context, read func(context.Context, string, metav1.GetOptions) (T, error), name string) (T, error) {
	object, err := read(ctx, name, metav1.GetOptions{})
	if err != nil {
		var none T
		return none, access(err)
	}
	return object, nil
}

// Each calls use for each object of a list, and holds two pages of them at most. If the list takes so long that its
// continuation expires, it is listed again as a whole, as kubectl does, so use may get an object twice.
func Each[L runtime.Object, T any](
	ctx context.Context, c *Cluster, list func(context.Context, metav1.ListOptions) (L, error), options metav1.ListOptions, use func(*T),
) error {
	each := func(object runtime.Object) error {
		one, ok := any(object).(*T)
		if !ok {
			return fmt.Errorf("the API server's list contains a %T", object)
		}
		use(one)
		return nil
	}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	})
	pages.PageSize, pages.PageBufferSize = c.chunk, 1
	err := pages.EachListItem(ctx, options, each)
	if apierrors.IsResourceExpired(err) { // EachListItem leaves that to its caller
		pages.PageSize = 0
		err = pages.EachListItem(ctx, options, each)
	}
	return access(err)
}

// EachVMI calls use for each VMI of a namespace, or of all namespaces if it is empty, that the options select.
func (c *Cluster) EachVMI(ctx context.Context, namespace string, options metav1.ListOptions, use func(vm.VMI)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (*vmiPage, error) {
		return c.vmiPage(ctx, namespace, options)
	}
	return Each(ctx, c, list, options, func(object *vm.Object) { use(vm.FromObject(object)) })
}

// VMINames returns the names of a namespace's VMIs, as of some moments ago: from the API server's memory, without the rest
// of the objects.
func (c *Cluster) VMINames(ctx context.Context, namespace string) ([]string, error) {
	list, err := c.metadata.Resource(vmis()).Namespace(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, access(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

// EachLauncher calls use for each virt-launcher pod of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachLauncher(ctx context.Context, namespace string, cfg inject.Config, use func(vm.Launcher)) error {
	return Each(ctx, c, c.CoreV1().Pods(namespace).List, metav1.ListOptions{LabelSelector: vm.LauncherSelector},
		func(pod *corev1.Pod) { use(vm.FromPod(cfg, pod)) })
}

// EachFailedCreate calls use for each event about pods that could not be created for objects of a kind.
func (c *Cluster) EachFailedCreate(ctx context.Context, namespace, kind string, use func(*corev1.Event)) error {
	return c.EachEvent(ctx, namespace, "reason="+vm.RefusalReason+",involvedObject.kind="+kind, use)
}

// EachEvent calls use for each event of a namespace that the field selector selects.
func (c *Cluster) EachEvent(ctx context.Context, namespace, selector string, use func(*corev1.Event)) error {
	return Each(ctx, c, c.CoreV1().Events(namespace).List, metav1.ListOptions{FieldSelector: selector}, use)
}

// Pods lists the pods of the product's own namespace that match the selector.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	pods, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, access(err)
	}
	return pods.Items, nil
}

// Enabled reports whether a namespace is labelled for sidecars.
func (c *Cluster) Enabled(ctx context.Context, name string) vm.Enabled {
	namespace, err := Get(ctx, c.CoreV1().Namespaces().Get, name)
	if err != nil {
		return vm.EnabledUnknown
	}
	return vm.EnabledBy(namespace.Labels)
}

// Once returns a function that reads once for each key, also if that fails. It may be called from many goroutines.
func Once[T any](read func(ctx context.Context, key string) T) func(ctx context.Context, key string) T {
	var known sync.Map
	return func(ctx context.Context, key string) T {
		once, _ := known.LoadOrStore(key, sync.OnceValue(func() T { return read(ctx, key) }))
		return once.(func() T)()
	}
}

// Version is the API server's, such as v1.36.3.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	content, err := c.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	var info version.Info
	if err := json.Unmarshal(content, &info); err != nil {
		return "", fmt.Errorf("read the API server's version: %w", err)
	}
	return info.GitVersion, nil
}

// MayCreate returns an AccessError unless the user may create a subresource of a namespace's pods.
func (c *Cluster) MayCreate(ctx context.Context, subresource, namespace string) error {
	return c.May(ctx, authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: subresource, Namespace: namespace})
}

// May returns an AccessError unless the user has the right. Every authenticated user may ask (ClusterRole
// system:basic-user).
func (c *Cluster) May(ctx context.Context, right authorizationv1.ResourceAttributes) error {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
	answer, err := c.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask the API server which rights you have: %w", err)
	}
	if answer.Status.Allowed {
		return nil
	}
	what := strings.TrimSuffix(right.Resource+"."+right.Group, ".")
	if right.Subresource != "" {
		what += "/" + right.Subresource
	}
	return &AccessError{right: right.Verb + " " + what, namespace: right.Namespace}
}

// User is the name under which the API server knows the user; empty if it does not say.
func (c *Cluster) User(ctx context.Context) string {
	answer, err := c.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return answer.Status.UserInfo.Username
}

// Serves returns the resources of an API that the API server serves; none if it does not know the API.
func (c *Cluster) Serves(ctx context.Context, groupVersion string) ([]string, error) {
	content, err := c.Discovery().RESTClient().Get().AbsPath("/apis/" + groupVersion).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask the API server for %s: %w", groupVersion, err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("read what the API server serves of %s: %w", groupVersion, err)
	}
	var names []string
	for i := range list.APIResources {
		names = append(names, list.APIResources[i].Name)
	}
	return names, nil
}
