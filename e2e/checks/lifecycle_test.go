package checks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A VM and its pod come to the same end with the sidecar as without it, and no later than a second after.
func TestLifecycle(t *testing.T) {
	for _, c := range []struct {
		name, disk string
		act        func(t *testing.T, w *world, v vm)
		end        []string // of VM and pod, the last one being what is timed
	}{
		{"guest-shutdown", "off", func(*testing.T, *world, vm) {}, []string{"vmi Succeeded", "pod Succeeded"}},
		{"stop", "acpi", deleteVM(nil), []string{"vmi gone", "pod gone"}},
		{"force-delete", "acpi", deleteVM(new(int64)), []string{"vmi gone", "pod gone"}},
		{"soft-reboot", "acpi", func(t *testing.T, w *world, v vm) { w.subresource(t, v, "softreboot") }, []string{"vmi Succeeded", "pod Succeeded"}},
		{"guest-crash", "crash", func(*testing.T, *world, vm) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := connect(t)
			w.emulate(t, true)
			pair := []vm{{namespace: plain, name: "life-" + c.name, disk: c.disk}, {namespace: labelled, name: "life-" + c.name, disk: c.disk}}
			var histories []*history
			for _, v := range pair {
				histories = append(histories, w.watch(t, v))
				w.create(t, v)
			}
			for _, v := range pair {
				eventually(t, 2*time.Minute, "VM "+v.namespace+"/"+v.name+" to run", func(ctx context.Context) error { return w.isIn(ctx, v, "Running") })
			}
			if c.disk == "acpi" {
				w.awaitGuests(t, pair)
			}
			for _, v := range pair {
				c.act(t, w, v)
			}
			if c.end == nil { // it goes on running: a minute is long enough to see that
				time.Sleep(time.Minute)
				require.Equal(t, histories[0].order[len(histories[0].order)-1], histories[1].order[len(histories[1].order)-1])
			}
			for _, state := range c.end {
				for i, h := range histories {
					eventually(t, 2*time.Minute, pair[i].namespace+": "+state, func(context.Context) error {
						if _, ok := h.at(state); !ok {
							return fmt.Errorf("so far: %v", h.order)
						}
						return nil
					})
				}
			}
			t.Logf("without: %v", histories[0].order)
			t.Logf("with:    %v", histories[1].order)
			requireNoLater(t, histories[0], histories[1], c.end)
		})
	}
}

// requireNoLater compares how long after the end of compute each state was reached.
func requireNoLater(t *testing.T, without, with *history, states []string) {
	t.Helper()
	for _, state := range states {
		var after [2]time.Duration
		for i, h := range []*history{without, with} {
			ended, ok := h.at("compute ended")
			reached, _ := h.at(state)
			if !ok { // the pod was gone before anyone was told
				t.Logf("%s: end of compute not seen: %v", state, h.order)
				return
			}
			after[i] = reached.Sub(ended)
		}
		t.Logf("%s after the end of compute: %.2f s without, %.2f s with the sidecar", state, after[0].Seconds(), after[1].Seconds())
		require.LessOrEqual(t, after[1], after[0]+time.Second, state)
	}
}

func deleteVM(grace *int64) func(t *testing.T, w *world, v vm) {
	return func(t *testing.T, w *world, v vm) {
		resource, err := w.Resource(vmiKind, v.namespace)
		require.NoError(t, err)
		require.NoError(t, resource.Delete(t.Context(), v.name, metav1.DeleteOptions{GracePeriodSeconds: grace}))
	}
}

// subresource calls an action of KubeVirt's API on the VM.
func (w *world) subresource(t *testing.T, v vm, action string) {
	t.Helper()
	err := w.CoreV1().RESTClient().Put().AbsPath("/apis/subresources.kubevirt.io/v1/namespaces", v.namespace, "virtualmachineinstances", v.name, action).
		Body([]byte("{}")).Do(t.Context()).Error()
	require.NoError(t, err, action)
}

// awaitGuests waits until each guest answers on port 80: only then does it obey the power button.
func (w *world) awaitGuests(t *testing.T, vms []vm) {
	t.Helper()
	for _, v := range vms {
		pod := w.pod(t, v)
		eventually(t, 2*time.Minute, "the guest of "+v.name, func(ctx context.Context) error {
			answer, err := w.node.Run(ctx, "curl", "-s", "-m", "2", "http://"+pod.Status.PodIP+"/")
			if err == nil && answer == "" {
				err = errors.New("no answer")
			}
			return err
		})
	}
}

// A VM that is paused and goes on keeps its sidecar, and its series says that the VM is there all along.
func TestPause(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "pause"}
	w.start(t, v)
	eventually(t, time.Minute, "the series", func(ctx context.Context) error { _, err := w.info(ctx, v); return err })
	w.subresource(t, v, "pause")
	paused := time.Now()
	for time.Since(paused) < 2*scrapeInterval+time.Second {
		_, err := w.info(t.Context(), v)
		require.NoError(t, err, "%.1f s after the pause", time.Since(paused).Seconds())
		time.Sleep(time.Second) // between two looks
	}
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	w.subresource(t, v, "unpause")
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
}
