package checks

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// Deleting the manifests, or Helm's release, leaves running VMs alone and no object behind. Installed again, it works as
// before.
func TestUninstall(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "uninstall"}
	f.start(v)
	compute := f.computeID(v)
	require.NotEmpty(t, f.strays(), "while it is installed")
	image := f.restoreProduct()
	objects := f.manifests(cluster.Default, image)
	f.must(f.Client.Delete(f.ctx, objects...))
	f.must(f.Client.Delete(f.ctx, f.pluginRights()...), "installed by itself, if at all")
	f.requireGone(objects)
	f.requireAlive(v, compute)
	fresh := vm{namespace: labelled, name: "uninstalled"}
	f.start(fresh)
	require.False(t, hasSidecar(f.pod(fresh)))

	f.must(f.Apply(f.ctx, f.productObjects("manifests/base/namespace.yaml")...)) // as docs/install.md has it
	f.helm("install", "hypervisor-exporter", filepath.Join(product(t), "charts", "kubevirt-hypervisor-exporter"), "--namespace="+cluster.Product,
		values(image))
	f.must(f.WaitProduct(f.ctx))
	charted := vm{namespace: labelled, name: "helm"}
	f.start(charted)
	chartedCompute := f.computeID(charted)
	require.Equal(t, image, f.sidecarOf(charted).Image)
	f.awaitTarget(charted, "up")
	f.helm("uninstall", "hypervisor-exporter", "--namespace="+cluster.Product)
	f.must(f.CoreV1().Namespaces().Delete(f.ctx, cluster.Product, metav1.DeleteOptions{}))
	f.requireGone(objects)
	f.requireAlive(charted, chartedCompute)
	f.requireAlive(v, compute)
}

// values set the chart's image.
func values(reference string) string {
	at := strings.LastIndex(reference, ":")
	return "--set=image.repository=" + reference[:at] + ",image.tag=" + reference[at+1:]
}

// helm runs the helm that the chart's tests pin.
func (f *framework) helm(args ...string) {
	dir, err := programs.UserCache()
	f.must(err)
	set, err := programs.Builder{Source: filepath.Join(product(f.t), "charts", "charttest"), Cache: dir}.Helm(f.ctx)
	f.must(err)
	command := exec.CommandContext(f.ctx, filepath.Join(set.Dir, "helm"), args...)
	command.Env = []string{"HOME=" + f.t.TempDir(), "KUBECONFIG=" + f.node.Kubeconfig()}
	output, err := command.CombinedOutput()
	f.must(err, "helm %s: %s", strings.Join(args, " "), output)
	f.t.Logf("helm %s\n%s", strings.Join(args, " "), output)
}

// requireGone waits for the product's namespaces to go, and fails where anything of it is left.
func (f *framework) requireGone(objects []*unstructured.Unstructured) {
	for _, namespace := range []string{cluster.Product, cluster.Relay} {
		f.eventually("namespace "+namespace+" to go", func() error {
			_, err := f.CoreV1().Namespaces().Get(f.ctx, namespace, metav1.GetOptions{})
			if cluster.IsNotFound(err) {
				return nil
			}
			return errors.Join(err, errors.New("still there"))
		})
	}
	for _, object := range objects {
		_, err := f.Get(f.ctx, object.GroupVersionKind(), object.GetNamespace(), object.GetName())
		require.True(f.t, cluster.IsNotFound(err), "%s %s is left: %v", object.GetKind(), object.GetName(), err)
	}
	require.Empty(f.t, f.strays(), "objects of ours after it was uninstalled")
}

// strays are the cluster's objects, of every kind, that carry the product's label or name, except VMs' pods, which keep
// their sidecars.
func (f *framework) strays() (found []string) {
	lists, err := f.Discovery().ServerPreferredResources()
	f.must(err)
	kinds := 0
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		f.must(err)
		for _, resource := range list.APIResources {
			// Events are history; metrics.k8s.io and KubeVirt's subresources have no objects.
			if !slices.Contains(resource.Verbs, "list") || resource.Kind == "Event" {
				continue
			}
			objects, err := f.Dynamic.Resource(group.WithResource(resource.Name)).List(f.ctx, metav1.ListOptions{})
			f.must(err, resource.Name)
			kinds++
			for _, object := range objects.Items {
				if object.GetLabels()["app.kubernetes.io/name"] == "kubevirt-hypervisor-exporter" ||
					strings.Contains(object.GetName(), cluster.Product) || strings.HasPrefix(object.GetNamespace(), cluster.Product) {
					found = append(found, resource.Kind+" "+object.GetNamespace()+"/"+object.GetName())
				}
			}
		}
	}
	require.Greater(f.t, kinds, 40, "the kinds of Kubernetes, KubeVirt and the Prometheus operator")
	return found
}
