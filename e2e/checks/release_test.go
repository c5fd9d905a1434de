package checks

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// releaseVersion is newer than what is installed. Its image (Makefile) has a digest of its own: once a kubelet has pulled a
// digest, it wants it pulled under every other name, too (KEP-2535), and the installed one is in no registry.
const releaseVersion = "v9.8.7"

// Installed from what a release publishes and nothing else, by kubectl and by Helm from a registry, it works: VMs get the
// image by its digest, and their metrics are there. Removed again, nothing is left, and running VMs go on.
func TestRelease(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "release-before"}
	f.start(v)
	compute := f.computeID(v)
	require.NotEmpty(t, f.strays(), "while it is installed")
	local := f.restoreProduct()
	f.must(f.Client.Delete(f.ctx, f.manifests(cluster.Default, local)...))
	f.must(f.Client.Delete(f.ctx, f.pluginRights()...), "installed by itself, if at all")
	registry, _ := f.startRegistry("", "", "")
	dist := f.release(registry)
	text, err := os.ReadFile(filepath.Join(dist, "install.yaml"))
	f.must(err)
	objects, err := cluster.Objects(text)
	f.must(err)
	f.requireGone(objects)
	f.requireAlive(v, compute)
	without := vm{namespace: labelled, name: "release-none"}
	f.start(without)
	require.False(t, hasSidecar(f.pod(without)))

	f.must(f.InstallProduct(f.ctx, objects))
	applied := vm{namespace: labelled, name: "release-applied"}
	f.start(applied)
	require.Regexp(t, "^"+registry.name+"/exporter/kubevirt-hypervisor-exporter@sha256:[0-9a-f]{64}$", f.sidecarOf(applied).Image)
	f.requireMeasured(applied, "kvm")
	f.must(f.Client.Delete(f.ctx, objects...))
	f.requireGone(objects)

	f.helm("install", "hypervisor-exporter", "oci://"+registry.name+"/exporter/charts/kubevirt-hypervisor-exporter", "--plain-http",
		"--version="+strings.TrimPrefix(releaseVersion, "v"), "--namespace="+cluster.Product, "--create-namespace")
	f.must(f.WaitProduct(f.ctx))
	charted := vm{namespace: labelled, name: "release-chart"}
	f.start(charted)
	chartedCompute := f.computeID(charted)
	require.Equal(t, registry.name+"/exporter/kubevirt-hypervisor-exporter:"+releaseVersion, f.sidecarOf(charted).Image)
	f.awaitTarget(charted, "up")
	f.helm("uninstall", "hypervisor-exporter", "--namespace="+cluster.Product)
	f.must(f.CoreV1().Namespaces().Delete(f.ctx, cluster.Product, metav1.DeleteOptions{}))
	f.requireGone(objects)
	f.requireAlive(charted, chartedCompute)
	f.requireAlive(v, compute)
}

// release makes a release of the images that make has built, for the registry, and pushes it. Made twice, it has the same
// bytes.
func (f *framework) release(r *imageRegistry) (dist string) {
	dist = filepath.Join(f.t.TempDir(), "dist")
	again := filepath.Join(f.t.TempDir(), "dist")
	for _, out := range []string{dist, again} {
		f.releaseCommand("--root="+product(f.t), "--out="+out, "--version="+releaseVersion, "--registry="+r.name,
			"--repository=exporter/kubevirt-hypervisor-exporter", "--platforms=linux-"+runtime.GOARCH, "--image-archive=bin/release.oci.tar")
	}
	files, err := os.ReadDir(dist)
	f.must(err)
	require.Greater(f.t, len(files), 15)
	for _, file := range files {
		first, err := os.ReadFile(filepath.Join(dist, file.Name()))
		f.must(err)
		second, err := os.ReadFile(filepath.Join(again, file.Name()))
		f.must(err)
		require.True(f.t, string(first) == string(second), "%s differs", file.Name())
	}
	check := exec.CommandContext(f.ctx, "sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = dist
	output, err := check.CombinedOutput()
	f.must(err, "%s", output)
	f.t.Logf("pushed:\n%s", f.releaseCommand("push", "--from="+dist, "--plain-http"))
	return dist
}

func (f *framework) releaseCommand(args ...string) string {
	command := exec.CommandContext(f.ctx, filepath.Join(product(f.t), "bin/release"), args...)
	output, err := command.CombinedOutput()
	f.must(err, "release %s: %s", strings.Join(args, " "), output)
	return string(output)
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
