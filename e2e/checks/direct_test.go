package checks

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// With the overlay direct a VM whose network leaves a port to the pod is scraped there, and one that takes every packet
// has a target that is down. In neither does the guest reach the sidecar.
func TestDirect(t *testing.T) {
	f := connect(t)
	f.installDirect()
	f.emulated()
	listed := vm{namespace: labelled, name: "direct-port", disk: "acpi"}
	all := vm{namespace: labelled, name: "direct-all", disk: "acpi", network: masqueradeAll}
	f.start(all, listed)
	f.awaitGuests(listed, all)
	for v, health := range map[*vm]string{&listed: "up", &all: "down"} {
		pod := f.pod(*v)
		require.Contains(t, strings.Join(f.sidecarOf(*v).Args, " "), "bind-to-device")
		f.requireUnreached(pod)
		target := f.awaitTarget(*v, health)
		require.Equal(t, "http://"+net.JoinHostPort(pod.Status.PodIP, "9477")+"/metrics", target.ScrapeURL)
		t.Logf("%s is %s: %s", v.name, health, target.LastError)
	}
	require.Equal(t, "qemu-tcg", f.awaitInfo(listed).Metric["hypervisor_type"])
	require.Empty(t, f.infos(all), "no series claims anything of a VM that cannot be scraped")
}

// installDirect replaces the default by the overlay direct, until the check ends. The relay goes on, without requests:
// what the overlay lacks is only kept from Prometheus, for the next check's sake.
func (f *framework) installDirect() {
	image := f.productImage()
	monitors := func(folder string) []*unstructured.Unstructured {
		return slices.DeleteFunc(f.manifests(folder, image), func(o *unstructured.Unstructured) bool { return o.GetKind() != "PodMonitor" })
	}
	f.restoreProduct(monitors(cluster.Direct)...)
	f.must(f.Client.Delete(f.ctx, monitors(cluster.Default)...))
	f.must(f.Apply(f.ctx, f.manifests(cluster.Direct, image)...))
	f.must(f.WaitWebhook(f.ctx))
}
