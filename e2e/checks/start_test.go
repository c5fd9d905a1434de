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

// A VM in a labelled namespace has a sidecar, and Prometheus its one series, soon and with the truth in it.
func TestStart(t *testing.T) {
	for _, c := range []struct {
		name     string
		emulated bool
		want     string
	}{{"kvm", false, "kvm"}, {"emulated", true, "qemu-tcg"}} {
		t.Run(c.name, func(t *testing.T) {
			w := connect(t)
			if c.emulated {
				w.emulated(t)
			}
			v := vm{namespace: labelled, name: "start-" + c.name}
			w.start(t, v)
			running := time.Now()
			pod := w.pod(t, v)
			require.True(t, hasSidecar(pod), "no sidecar in %s", pod.Name)

			var found series
			eventually(t, time.Minute, "the VM's series in Prometheus", func(ctx context.Context) (err error) {
				found, err = w.info(ctx, v)
				return err
			})
			after := time.Since(running)
			t.Logf("series %.1f s after phase Running: %v", after.Seconds(), found.Metric)
			require.Equal(t, c.want, found.Metric["hypervisor_type"])
			require.Equal(t, v.namespace, found.Metric["namespace"])
			require.Equal(t, v.name, found.Metric["name"])
			require.Equal(t, pod.Spec.NodeName, found.Metric["node"])
			require.Equal(t, pod.Name, found.Metric["pod"])
			require.Equal(t, "1", found.Value[1])
			require.Less(t, after, 2*scrapeInterval, "a series within two scrape intervals")
			w.requireTold(t, v, c.want)

			w.remove(t, v)
			w.awaitNoSeries(t, v)
		})
	}
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
