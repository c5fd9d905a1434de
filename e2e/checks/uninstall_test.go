package checks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// Deleting the manifests, or Helm's release, leaves running VMs alone and no object behind. Installed again, it works as
// before.
func TestUninstall(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "uninstall"}
	w.start(t, v)
	compute := w.computeID(t, v)
	require.NotEmpty(t, w.strays(t), "while it is installed")
	images := w.productImages(t)
	objects, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	require.NoError(t, w.Client.Delete(t.Context(), objects...))
	require.NoError(t, w.Client.Delete(t.Context(), pluginRights(t)...), "installed by itself, if at all")
	t.Cleanup(func() { require.NoError(t, w.InstallProduct(context.Background(), objects)) })
	w.requireGone(t, objects)
	w.requireAlive(t, v, compute)
	fresh := vm{namespace: labelled, name: "uninstalled"}
	w.start(t, fresh)
	require.False(t, hasSidecar(w.pod(t, fresh)))

	charted := w.requireChartInstalls(t, images)
	chartedCompute := w.computeID(t, charted)
	w.uninstallChart(t)
	w.requireGone(t, objects)
	w.requireAlive(t, charted, chartedCompute)
	w.requireAlive(t, v, compute)
}

// requireAlive fails unless the VM runs in the container that it ran in before.
func (w *world) requireAlive(t *testing.T, v vm, compute string) {
	t.Helper()
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
}

// requireGone waits for the product's namespaces to go, and fails where anything of it is left.
func (w *world) requireGone(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, namespace := range []string{cluster.Product, cluster.Relay} {
		eventually(t, patience, "namespace "+namespace+" to go", func(ctx context.Context) error {
			_, err := w.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
			if cluster.IsNotFound(err) {
				return nil
			}
			return errors.Join(err, errors.New("still there"))
		})
	}
	for _, object := range objects {
		_, err := w.Get(t.Context(), object.GroupVersionKind(), object.GetNamespace(), object.GetName())
		require.True(t, cluster.IsNotFound(err), "%s %s is left: %v", object.GetKind(), object.GetName(), err)
	}
	require.Empty(t, w.strays(t), "objects of ours after it was uninstalled")
}

// strays are the cluster's objects, of every kind, that carry the product's label or name; VMs' pods, which keep their
// sidecars, do not.
func (w *world) strays(t *testing.T) []string {
	t.Helper()
	lists, err := w.Discovery().ServerPreferredResources()
	require.NoError(t, err)
	var found []string
	kinds := 0
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, resource := range list.APIResources {
			// Events are history, and metrics.k8s.io and KubeVirt's subresources no objects.
			if !slices.Contains(resource.Verbs, "list") || resource.Kind == "Event" {
				continue
			}
			objects, err := w.Dynamic.Resource(group.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err, resource.Name)
			kinds++
			for _, object := range objects.Items {
				if object.GetLabels()["app.kubernetes.io/name"] == "kubevirt-hypervisor-exporter" ||
					strings.Contains(object.GetName(), cluster.Product) || strings.HasPrefix(object.GetNamespace(), cluster.Product) {
					found = append(found, resource.Kind+" "+object.GetNamespace()+"/"+object.GetName())
				}
			}
		}
	}
	require.Greater(t, kinds, 40, "the kinds of Kubernetes, KubeVirt and the Prometheus operator")
	return found
}

// productImages are the references that the product runs by.
func (w *world) productImages(t *testing.T) cluster.ProductImages {
	t.Helper()
	deployment, err := w.AppsV1().Deployments(cluster.Product).Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	relay, err := w.AppsV1().DaemonSets(cluster.Relay).Get(t.Context(), cluster.Relay, metav1.GetOptions{})
	require.NoError(t, err)
	return cluster.ProductImages{
		Webhook: deployment.Spec.Template.Spec.Containers[0].Image,
		Sidecar: deployment.Spec.Template.Spec.InitContainers[0].Image,
		Relay:   relay.Spec.Template.Spec.Containers[0].Image,
	}
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
