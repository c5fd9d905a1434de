package checks

import (
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

// An upgrade, here to an image that only a registry has, leaves running VMs alone. The relay's pods bring the image to
// the node: a VM that starts then waits for no registry, which may even be gone.
func TestUpgrade(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "upgraded"}
	f.start(v)
	f.awaitTarget(v, "up")
	requireUntouched, before := f.observe(v), f.sidecarOf(v).Image
	old := f.relayOn(f.node.Name)

	registry, end := f.startRegistry(registryName, "", "")
	image, _ := registry.push(f.restoreProduct())
	began := time.Now()
	f.install(image)
	require.NotEqual(t, old.UID, f.relayOn(f.node.Name).UID)
	// Webhook and relay are rolled out side by side, and on one node either's pod may be the one that pulls.
	require.Contains(t, f.pulls(image, cluster.Relay), "Pulled", "the relay's pod has the image brought to its node")
	require.Contains(t, f.pulls(image, cluster.Relay, cluster.Product), "Pulling", "it was on no node before")
	end()

	fresh := vm{namespace: labelled, name: "upgraded-fresh"}
	f.start(fresh)
	require.Equal(t, image, f.sidecarOf(fresh).Image)
	require.Equal(t, []string{"Pulled"}, f.pulls(image, labelled), "it was there already")
	requireUntouched()
	require.Equal(t, before, f.sidecarOf(v).Image, "a VM keeps the sidecar that it has")
	f.awaitTarget(v, "up")
	f.awaitTarget(fresh, "up")
	up := f.scrapes(v, time.Since(began))
	t.Logf("the running VM missed %d of %d scrapes", count(up, false), len(up))
}

// pulls are the reasons of the kubelet's events in the namespaces about an image, each once.
func (f *framework) pulls(image string, namespaces ...string) []string {
	var reasons []string
	for _, namespace := range namespaces {
		events, err := f.CoreV1().Events(namespace).List(f.ctx, metav1.ListOptions{})
		f.must(err)
		for _, e := range events.Items {
			if isPull(e, image) {
				reasons = append(reasons, e.Reason)
				f.t.Logf("%s %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
			}
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

func isPull(e corev1.Event, image string) bool {
	return slices.Contains([]string{"Pulling", "Pulled", "Failed", "BackOff"}, e.Reason) && strings.Contains(e.Message, fmt.Sprintf("%q", image))
}
