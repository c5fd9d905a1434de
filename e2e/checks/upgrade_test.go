package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// An upgrade, here to a sidecar that only a registry has, leaves running VMs alone. The relay's pods bring the image to
// the node: a VM that starts then waits for no registry, which may even be gone.
func TestUpgrade(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "upgraded"}
	w.start(t, v)
	w.awaitTarget(t, v, "up")
	w.awaitReady(t, v)
	states, compute, image := w.watch(t, v), w.computeID(t, v), sidecarOf(t, w.pod(t, v)).Image
	old, err := w.relayPod(t.Context())
	require.NoError(t, err)

	images := w.productImages(t)
	standard, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	closeRegistry := w.registry(t, images.Sidecar, "sidecar:upgrade")
	images.Sidecar = registryName + "/sidecar:upgrade"
	upgrade, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.InstallProduct(context.Background(), standard)) })
	began := time.Now()
	require.NoError(t, w.InstallProduct(t.Context(), upgrade))
	t.Logf("upgraded in %.1f s", time.Since(began).Seconds())
	relay, err := w.relayPod(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, old.UID, relay.UID)
	// Webhook and relay are rolled out side by side, and on one node either's pod may be the one that pulls.
	require.Contains(t, w.pulls(t, cluster.Relay), "Pulled", "the relay's pod has the image brought to its node")
	require.Contains(t, append(w.pulls(t, cluster.Relay), w.pulls(t, cluster.Product)...), "Pulling", "it was on no node before")
	closeRegistry()

	fresh := vm{namespace: labelled, name: "upgraded-fresh"}
	w.start(t, fresh)
	require.Equal(t, images.Sidecar, sidecarOf(t, w.pod(t, fresh)).Image)
	require.Equal(t, []string{"Pulled"}, w.pulls(t, labelled), "it was there already")
	w.requireUntouched(t, v, states, compute)
	require.Equal(t, image, sidecarOf(t, w.pod(t, v)).Image, "a VM keeps the sidecar that it has")
	w.awaitTarget(t, v, "up")
	w.awaitTarget(t, fresh, "up")
	up := w.scrapes(t, v, time.Since(began))
	t.Logf("the running VM missed %d of %d scrapes", len(slices.DeleteFunc(slices.Clone(up), func(up bool) bool { return up })), len(up))
}

// pulls are the reasons of the kubelet's events in the namespace about the upgrade's image, each once.
func (w *world) pulls(t *testing.T, namespace string) []string {
	t.Helper()
	events, err := w.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var reasons []string
	for _, e := range events.Items {
		if isPull(e) {
			reasons = append(reasons, e.Reason)
			t.Logf("%s %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

func isPull(e corev1.Event) bool {
	about := fmt.Sprintf("%q", registryName+"/sidecar:upgrade")
	return slices.Contains([]string{"Pulling", "Pulled", "Failed", "BackOff"}, e.Reason) && strings.Contains(e.Message, about)
}
