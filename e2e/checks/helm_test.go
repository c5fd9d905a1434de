package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cache"
	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// requireChartInstalls installs the chart on a cluster without the product, as docs/install.md has it, and returns a VM
// that has its sidecar and is scraped.
func (w *world) requireChartInstalls(t *testing.T, images cluster.ProductImages) vm {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(product(t), "manifests", "base", "namespace.yaml"))
	require.NoError(t, err)
	namespace, err := cluster.Objects(text)
	require.NoError(t, err)
	require.NoError(t, w.Apply(t.Context(), namespace...))
	w.helm(t, "install", "hypervisor-exporter", filepath.Join(product(t), "charts", "kubevirt-hypervisor-exporter"), "--namespace="+cluster.Product,
		values("webhook", images.Webhook), values("relay", images.Relay), values("sidecar", images.Sidecar))
	require.NoError(t, w.WaitProduct(t.Context()))
	v := vm{namespace: labelled, name: "helm"}
	w.start(t, v)
	require.Equal(t, images.Sidecar, sidecarOf(t, w.pod(t, v)).Image)
	w.awaitTarget(t, v, "up")
	return v
}

// uninstallChart does what docs/install.md has for it.
func (w *world) uninstallChart(t *testing.T) {
	t.Helper()
	w.helm(t, "uninstall", "hypervisor-exporter", "--namespace="+cluster.Product)
	require.NoError(t, w.CoreV1().Namespaces().Delete(t.Context(), cluster.Product, metav1.DeleteOptions{}))
}

// values set an image of the chart.
func values(image, reference string) string {
	at := strings.LastIndex(reference, ":")
	return "--set=images." + image + ".repository=" + reference[:at] + ",images." + image + ".tag=" + reference[at+1:]
}

// helm runs the helm that the chart's tests pin.
func (w *world) helm(t *testing.T, args ...string) {
	t.Helper()
	dir, err := cache.User()
	require.NoError(t, err)
	set, err := programs.Builder{Source: filepath.Join(product(t), "charts", "charttest"), Cache: dir}.Helm(t.Context())
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), filepath.Join(set.Dir, "helm"), args...)
	command.Env = []string{"HOME=" + t.TempDir(), "KUBECONFIG=" + w.node.Kubeconfig()}
	output, err := command.CombinedOutput()
	require.NoError(t, err, "helm %s: %s", strings.Join(args, " "), output)
	t.Logf("helm %s\n%s", strings.Join(args, " "), output)
}
