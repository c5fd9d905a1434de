package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// EachLimitRange calls use for each LimitRange of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachLimitRange(ctx context.Context, namespace string, use func(*corev1.LimitRange)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.client.CoreV1().LimitRanges(namespace).List(ctx, options)
	}
	return access(eachOf(ctx, c, list, use), "list", corev1.Resource("limitranges"), "", namespace, "")
}

// EachQuota calls use for each ResourceQuota of a namespace, or of all namespaces if it is empty.
func (c *Cluster) EachQuota(ctx context.Context, namespace string, use func(*corev1.ResourceQuota)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.client.CoreV1().ResourceQuotas(namespace).List(ctx, options)
	}
	return access(eachOf(ctx, c, list, use), "list", corev1.Resource("resourcequotas"), "", namespace, "")
}

// EachFailedCreate calls use for each event about pods that could not be created for objects of a kind.
func (c *Cluster) EachFailedCreate(ctx context.Context, namespace, kind string, use func(*corev1.Event)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		options.FieldSelector = "reason=" + vm.RefusalReason + ",involvedObject.kind=" + kind
		return c.client.CoreV1().Events(namespace).List(ctx, options)
	}
	return access(eachOf(ctx, c, list, use), "list", corev1.Resource("events"), "", namespace, "")
}

// eachOf is each for objects of one type.
func eachOf[T any](ctx context.Context, c *Cluster, list func(context.Context, metav1.ListOptions) (runtime.Object, error), use func(*T)) error {
	return c.each(ctx, list, "", func(object runtime.Object) error {
		one, ok := any(object).(*T)
		if !ok {
			return fmt.Errorf("the API server's list holds a %T", object)
		}
		use(one)
		return nil
	})
}
