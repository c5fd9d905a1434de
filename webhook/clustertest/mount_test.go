package clustertest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// mountSecret keeps the data of a Secret in a folder until the end of the test, as the kubelet does.
func mountSecret(t *testing.T, name string) string {
	t.Helper()
	volume := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := server.Client.CoreV1().Secrets(productNamespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	var following sync.WaitGroup
	following.Go(func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				if err := testkit.PublishVolume(volume, secret.Data); err != nil {
					t.Errorf("mount %s: %v", name, err)
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		watch.Stop()
		following.Wait()
	})
	return volume
}
