package checks

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"slices"
)

// scrapeInterval is that of cluster/manifests/prometheus.yaml.
const scrapeInterval = 5 * time.Second

// The same with software emulation is a part of TestEmulated.
func TestStart(t *testing.T) {
	t.Parallel()
	checkStart(t, connect(t), "kvm")
}

// A VM in a labelled namespace has a sidecar, and Prometheus its one series, soon and with the truth in it.
func checkStart(t *testing.T, w *world, want string) {
	t.Helper()
	v := vm{namespace: labelled, name: "start-" + want}
	w.start(t, v)
	running := time.Now()
	pod := w.pod(t, v)
	require.True(t, hasSidecar(pod), "no sidecar in %s", pod.Name)

	found := w.awaitInfo(t, v)
	after := time.Since(running)
	t.Logf("series %.1f s after phase Running: %v", after.Seconds(), found.Metric)
	require.Equal(t, want, found.Metric["hypervisor_type"])
	require.Equal(t, v.namespace, found.Metric["namespace"])
	require.Equal(t, v.name, found.Metric["name"])
	require.Equal(t, pod.Spec.NodeName, found.Metric["node"])
	require.Equal(t, pod.Name, found.Metric["pod"])
	require.Equal(t, "1", found.Value[1])
	require.Less(t, after, 2*scrapeInterval, "a series within two scrape intervals")
	w.requireTold(t, v, want)

	w.remove(t, v)
	w.awaitNoSeries(t, v)
}

// awaitNoSeries waits until Prometheus has no series of the VM, which has ended.
func (w *world) awaitNoSeries(t *testing.T, v vm) {
	t.Helper()
	ended := time.Now()
	eventually(t, time.Minute, "the series to go with the VM", func(ctx context.Context) error {
		found, err := w.infos(ctx, v)
		if err == nil && len(found) > 0 {
			err = errors.New("it is still there")
		}
		return err
	})
	t.Logf("series gone %.1f s after the VM", time.Since(ended).Seconds())
}

func hasSidecar(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == sidecar })
}
