package checks

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const webhook = "hypervisor-exporter-webhook"

// product is the product's folder.
func product(t *testing.T) string {
	if dir := os.Getenv("E2E_PRODUCT"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// productObjects are those of YAML files of the product.
func (f *framework) productObjects(paths ...string) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(product(f.t), path))
		f.must(err)
		objects, err := cluster.Objects(text)
		f.must(err)
		all = append(all, objects...)
	}
	return all
}

// productImage is the reference that the product runs by.
func (f *framework) productImage() string {
	deployment, err := f.AppsV1().Deployments(cluster.Product).Get(f.ctx, webhook, metav1.GetOptions{})
	f.must(err)
	return deployment.Spec.Template.Spec.Containers[0].Image
}

// manifests renders a folder of the product's manifests.
func (f *framework) manifests(folder, image string, patches ...string) []*unstructured.Unstructured {
	objects, err := cluster.ProductObjects(product(f.t), folder, image, patches...)
	f.must(err)
	return objects
}

// restoreProduct has the product as it is now installed again when the check ends, once remove has been deleted. It
// returns the product's image.
func (f *framework) restoreProduct(remove ...*unstructured.Unstructured) string {
	image := f.productImage()
	standard := f.manifests(cluster.Default, image)
	f.t.Cleanup(func() {
		f.must(f.Client.Delete(f.ctx, remove...))
		f.must(f.InstallProduct(f.ctx, standard))
	})
	return image
}

// install installs the default manifests with another image or patches.
func (f *framework) install(image string, patches ...string) {
	began := time.Now()
	f.must(f.InstallProduct(f.ctx, f.manifests(cluster.Default, image, patches...)))
	f.t.Logf("installed in %.1f s", time.Since(began).Seconds())
}

// scale sets the replicas of one of the product's Deployments, until the check ends, and waits for its pods.
func (f *framework) scale(deployment, component string, replicas, before int) {
	f.t.Cleanup(func() { f.setReplicas(deployment, component, before) })
	f.setReplicas(deployment, component, replicas)
}

func (f *framework) setReplicas(deployment, component string, replicas int) {
	_, err := f.AppsV1().Deployments(cluster.Product).Patch(f.ctx, deployment, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{})
	f.must(err)
	f.must(f.WaitRollout(f.ctx, cluster.Product, "Deployment", deployment))
	f.awaitPods(component, replicas)
}

// awaitPods waits until no more than so many pods of a component of the product are there.
func (f *framework) awaitPods(component string, most int) {
	f.until("pods of the "+component+" to go", func() bool {
		return len(f.pods(cluster.Product, "app.kubernetes.io/component="+component)) <= most
	}, nil)
}

// without are the objects that are not among the others.
func without(objects, others []*unstructured.Unstructured) []*unstructured.Unstructured {
	identity := func(o *unstructured.Unstructured) string {
		return o.GroupVersionKind().GroupKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
	}
	known := map[string]bool{}
	for _, other := range others {
		known[identity(other)] = true
	}
	var left []*unstructured.Unstructured
	for _, object := range objects {
		if !known[identity(object)] {
			left = append(left, object)
		}
	}
	return left
}
