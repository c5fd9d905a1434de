package cluster

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Changes calls changed when a VMI or a virt-launcher pod of a namespace (empty: of all) may have changed, at least once in the
// time that a request may take. It returns when ctx ends, or with an error if the user may not watch.
func (c *Cluster) Changes(ctx context.Context, namespace string, changed func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watches sync.WaitGroup
	for resource, selector := range map[schema.GroupVersionResource]string{
		vmis():                            "",
		{Version: "v1", Resource: "pods"}: vm.LauncherSelector,
	} {
		watches.Go(func() {
			for ctx.Err() == nil {
				if err := c.watch(ctx, resource, namespace, selector, changed); IsDenied(err) {
					cancel(err)
				}
				changed() // in the meantime
				pause(ctx, time.Second)
			}
		})
	}
	watches.Wait()
	if err := context.Cause(ctx); IsDenied(err) {
		return err
	}
	return nil
}

// watch calls changed for each change from now on, until the API server or the client's timeout ends the watch.
func (c *Cluster) watch(ctx context.Context, resource schema.GroupVersionResource, namespace, selector string, changed func()) error {
	client := c.metadata.Resource(resource).Namespace(namespace)
	now, err := client.List(ctx, metav1.ListOptions{LabelSelector: selector, Limit: 1})
	if err != nil {
		return access(err)
	}
	watch, err := client.Watch(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: now.ResourceVersion})
	if err != nil {
		return access(err)
	}
	defer watch.Stop()
	changed() // before it began
	for range watch.ResultChan() {
		changed()
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
