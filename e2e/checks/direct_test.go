package checks

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// With the overlay direct a VM whose network leaves a port to the pod is scraped there, and one that takes every packet
// has a target that is down. In neither does the guest reach the sidecar.
func TestDirect(t *testing.T) {
	w := connect(t)
	w.installDirect(t)
	w.emulated(t)
	listed := vm{namespace: labelled, name: "direct-port", disk: "acpi"}
	all := vm{namespace: labelled, name: "direct-all", disk: "acpi", network: masqueradeAll}
	w.create(t, all)
	w.start(t, listed)
	w.awaitGuests(t, []vm{listed, all})
	for _, v := range []vm{listed, all} {
		pod := w.pod(t, v)
		require.Contains(t, strings.Join(sidecarOf(t, pod).Args, " "), "--bind-to-device")
		w.requireUnreached(t, pod)
		health := map[bool]string{true: "up", false: "down"}[v.name == listed.name]
		target := w.awaitTarget(t, v, health)
		require.Equal(t, "http://"+net.JoinHostPort(pod.Status.PodIP, "9477")+"/metrics", target.ScrapeURL)
		t.Logf("%s is %s: %s", v.name, health, target.LastError)
	}
	require.Equal(t, "qemu-tcg", w.awaitInfo(t, listed).Metric["hypervisor_type"])
	none, err := w.infos(t.Context(), all)
	require.NoError(t, err)
	require.Empty(t, none, "no series claims anything of a VM that cannot be scraped")
}

// installDirect puts the overlay direct in the place of the default, until the test ends. The relay goes on, asked by
// nobody: what the overlay lacks is only kept from Prometheus, for the next check's sake.
func (w *world) installDirect(t *testing.T) {
	t.Helper()
	images := w.productImages(t)
	standard, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	direct, err := cluster.ProductObjects(product(t), cluster.Direct, images)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.Client.Delete(context.Background(), ofKind(direct, "PodMonitor")...))
		require.NoError(t, w.InstallProduct(context.Background(), standard))
	})
	require.NoError(t, w.Client.Delete(t.Context(), ofKind(standard, "PodMonitor")...))
	require.NoError(t, w.Apply(t.Context(), direct...))
	require.NoError(t, w.WaitWebhook(t.Context()))
}

func ofKind(objects []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == kind {
			found = append(found, object)
		}
	}
	return found
}
