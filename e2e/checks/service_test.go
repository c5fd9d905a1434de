package checks

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	slices, err := w.DiscoveryV1().EndpointSlices(labelled).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	require.NoError(t, err)
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
				return true
			}
		}
	}
	return false
}
