package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// serviceFor puts a Service in front of the VM, as users do.
func (w *world) serviceFor(t *testing.T, v vm) string {
	t.Helper()
	_, err := w.CoreV1().Services(v.namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: v.name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"check": v.name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.CoreV1().Services(v.namespace).Delete(context.Background(), v.name, metav1.DeleteOptions{}))
	})
	eventually(t, patience, "the VM in its Service", func(context.Context) error {
		if !w.endpointReady(t, v.name) {
			return errors.New("no ready endpoint")
		}
		return nil
	})
	return v.name
}

func (w *world) endpointReady(t *testing.T, service string) bool {
	t.Helper()
	found, err := w.DiscoveryV1().EndpointSlices(labelled).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	require.NoError(t, err)
	return slices.ContainsFunc(found.Items, func(slice discoveryv1.EndpointSlice) bool { return isServed(&slice) })
}

// watchService notes "endpoint ready=true" and "endpoint ready=false" in the VM's history, until the test ends.
func (w *world) watchService(t *testing.T, v vm, service string, h *history) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		options := metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service}
		follow(ctx, options, w.DiscoveryV1().EndpointSlices(v.namespace).Watch, func(object runtime.Object, gone bool) {
			if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
				h.note(fmt.Sprintf("endpoint ready=%t", !gone && isServed(slice)))
			}
		})
	})
	t.Cleanup(func() { stop(); running.Wait() })
}

func isServed(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready != nil && *e.Conditions.Ready })
}
