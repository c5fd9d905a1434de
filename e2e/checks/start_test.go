package checks

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
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
			w.emulate(t, c.emulated)
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

			w.remove(t, v)
			ended := time.Now()
			eventually(t, 30*time.Second, "the series to go with the VM", func(ctx context.Context) error {
				if _, err := w.info(ctx, v); err == nil {
					return errors.New("it is still there")
				}
				return nil
			})
			t.Logf("series gone %.1f s after the VM", time.Since(ended).Seconds())
		})
	}
}

// What the sidecar costs a VM's start, against the same VM in an unlabelled namespace, by turns.
func TestStartTime(t *testing.T) {
	w := connect(t)
	for _, c := range []struct {
		name     string
		emulated bool
	}{{"kvm", false}, {"emulated", true}} {
		w.emulate(t, c.emulated)
		times := map[string][]time.Duration{}
		for range 5 {
			for _, namespace := range []string{plain, labelled} {
				v := vm{namespace: namespace, name: "time-" + c.name}
				times[namespace] = append(times[namespace], w.start(t, v))
				w.removeNow(t, v)
			}
		}
		without, with := median(times[plain]), median(times[labelled])
		t.Logf("%s: median of 5 starts %.2f s without, %.2f s with the sidecar (%v, %v)", c.name, without.Seconds(), with.Seconds(), times[plain], times[labelled])
		require.LessOrEqual(t, with, without+without/10, "%s: within 10 %%", c.name)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func hasSidecar(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == sidecar })
}
