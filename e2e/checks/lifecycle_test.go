package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ending is one way that a VM ends.
type ending struct {
	name, disk string
	act        func(t *testing.T, w *world, v vm)
	states     []string // of VM and pod at last
}

// endings are the ways that a VM ends.
func endings() []ending {
	byItself := func(*testing.T, *world, vm) {}
	ended := []string{"vmi Succeeded", "pod Succeeded", "pod ended"}
	return []ending{
		{"guest-shutdown", "off", byItself, ended},
		{"stop", "acpi", deleteVM(nil), []string{"vmi gone", "pod gone"}},
		{"force-delete", "acpi", deleteVM(new(int64)), []string{"vmi gone", "pod gone"}},
		{"guest-crash", "crash", byItself, []string{"vmi Failed", "pod ended"}},
	}
}

// A VM and its pod come to the same end with the sidecar as without it, and no later than a second after; the series
// goes with the VM. The VMs with and without run beside each other, so that what else the machine does meets both.
func (e ending) check(t *testing.T, w *world) {
	// What else the machine does may hold up one of the two by a second.
	for try := 1; ; try++ {
		late := w.compareEnds(t, e, fmt.Sprintf("life-%s-%d", e.name, try))
		if late == nil {
			return
		}
		require.Less(t, try, 3, late)
		t.Logf("try %d: %v", try, late)
	}
}

// compareEnds runs a VM with the sidecar and one without to their ends and says what came later with it.
func (w *world) compareEnds(t *testing.T, e ending, name string) error {
	pair := []vm{{namespace: plain, name: name, disk: e.disk}, {namespace: labelled, name: name, disk: e.disk}}
	var histories []*history
	for _, v := range pair {
		histories = append(histories, w.watch(t, v))
		w.create(t, v)
	}
	for i, v := range pair { // not the phase of now: the guest may have ended meanwhile
		w.awaitState(t, v, histories[i], "vmi Running")
	}
	require.True(t, hasSidecar(w.pod(t, pair[1])))
	if e.disk == "acpi" {
		w.awaitGuests(t, pair)
	}
	for i, v := range pair {
		e.act(t, w, v)
		histories[i].note("act")
	}
	for _, state := range e.states {
		for i, h := range histories {
			w.awaitState(t, pair[i], h, state)
		}
	}
	w.awaitNoSeries(t, pair[1])
	t.Logf("without: %v", histories[0].states())
	t.Logf("with:    %v", histories[1].states())
	return compareTimes(t, histories[0], histories[1], e.states)
}

func (w *world) awaitState(t *testing.T, v vm, h *history, state string) {
	t.Helper()
	eventually(t, patience, v.namespace+"/"+v.name+": "+state, func(context.Context) error {
		if _, ok := h.at(state); !ok {
			return fmt.Errorf("so far: %v", h.states())
		}
		return nil
	})
}

// compareTimes compares how long after the end of compute each state was reached; after the act where the pod was gone
// before anyone was told of compute's end.
func compareTimes(t *testing.T, without, with *history, states []string) error {
	since := "compute ended"
	for _, h := range []*history{without, with} {
		if _, ok := h.at(since); !ok {
			since = "act"
		}
	}
	var late error
	for _, state := range states {
		var after [2]time.Duration
		for i, h := range []*history{without, with} {
			began, _ := h.at(since)
			reached, _ := h.at(state)
			after[i] = reached.Sub(began)
		}
		t.Logf("%s after %q: %.2f s without, %.2f s with the sidecar", state, since, after[0].Seconds(), after[1].Seconds())
		if after[1] > after[0]+time.Second {
			late = errors.Join(late, fmt.Errorf("%s after %q: %s without, %s with the sidecar", state, since, after[0], after[1]))
		}
	}
	return late
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
		eventually(t, patience, "the guest of "+v.name, func(ctx context.Context) error {
			answer, err := w.node.Run(ctx, "curl", "-s", "-m", "2", "http://"+net.JoinHostPort(pod.Status.PodIP, "80")+"/")
			if err == nil && answer == "" {
				err = errors.New("no answer")
			}
			return err
		})
	}
}

// A VM that is paused and goes on keeps its sidecar, and its series says that the VM is there all along.
func TestPause(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "pause"}
	w.start(t, v)
	w.awaitInfo(t, v)
	w.subresource(t, v, "pause")
	w.requireThroughout(t, v, "kvm", 2*scrapeInterval+time.Second)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	w.subresource(t, v, "unpause")
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
}

// After a soft reboot VM and pod are as before, the sidecar is the same, and the series is there all along: libvirt
// keeps the domain when it presses the power button and starts the guest anew.
func checkSoftReboot(t *testing.T, w *world) {
	v := vm{namespace: labelled, name: "soft-reboot", disk: "acpi"}
	w.start(t, v)
	w.awaitGuests(t, []vm{v})
	w.awaitInfo(t, v)
	compute := w.computeID(t, v)
	w.subresource(t, v, "softreboot")
	w.requireThroughout(t, v, "qemu-tcg", 4*scrapeInterval)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
}
