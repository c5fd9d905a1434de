package checks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// Deleting the manifests leaves running VMs alone and no object behind. Installed again, it works as before.
func TestUninstall(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "uninstall"}
	w.start(t, v)
	compute := w.computeID(t, v)
	deployment, err := w.AppsV1().Deployments(cluster.Product).Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	objects, err := cluster.ProductObjects(product(t), imagesOf(deployment))
	require.NoError(t, err)
	require.NoError(t, w.Client.Delete(t.Context(), objects...))
	t.Cleanup(func() { require.NoError(t, w.InstallProduct(context.Background(), objects)) })
	eventually(t, 2*time.Minute, "the namespace to go", func(ctx context.Context) error {
		_, err := w.CoreV1().Namespaces().Get(ctx, cluster.Product, metav1.GetOptions{})
		if cluster.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("still there"))
	})
	for _, object := range objects {
		_, err := w.Get(t.Context(), object.GroupVersionKind(), object.GetNamespace(), object.GetName())
		require.True(t, cluster.IsNotFound(err), "%s %s is left: %v", object.GetKind(), object.GetName(), err)
	}
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	fresh := vm{namespace: labelled, name: "uninstalled"}
	w.start(t, fresh)
	require.False(t, hasSidecar(w.pod(t, fresh)))
}

func imagesOf(d *appsv1.Deployment) cluster.ProductImages {
	return cluster.ProductImages{Webhook: d.Spec.Template.Spec.Containers[0].Image, Sidecar: d.Spec.Template.Spec.InitContainers[0].Image}
}

// product is the product's folder.
func product(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("E2E_PRODUCT"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}
