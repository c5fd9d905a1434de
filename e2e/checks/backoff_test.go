package checks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// A VM whose guest shuts down while the kubelet holds its sidecar back (CrashLoopBackOff) ends as one without a sidecar,
// and its pod too: also where no kubelet runs at that moment, and the next one finds both ended.
func checkBackOff(t *testing.T, w *world) {
	const kubelet = "kubelet-restarts"
	names := []string{"back-off", kubelet}
	pairs := map[string][]vm{}
	histories := map[vmKey]*history{}
	for _, name := range names {
		for _, namespace := range []string{plain, labelled} {
			v := vm{namespace: namespace, name: "end-in-" + name, disk: "acpi"}
			pairs[name] = append(pairs[name], v)
			histories[v.key()] = w.watch(t, v)
			w.create(t, v)
		}
	}
	for _, name := range names {
		for _, v := range pairs[name] {
			w.awaitState(t, v, histories[v.key()], "vmi Running")
		}
		w.awaitGuests(t, pairs[name])
		require.True(t, hasSidecar(w.pod(t, pairs[name][1])))
	}
	for _, name := range names {
		without, with := pairs[name][0], pairs[name][1]
		restarts := w.putInBackOff(t, with)
		var resume func()
		if name == kubelet {
			resume = w.holdProgram(t, "kubelet")
		}
		pressed := time.Now()
		w.powerOff(t, pairs[name])
		if name == kubelet {
			w.awaitGuestsEnd(t, pairs[name])
			resume()
		}
		for _, v := range pairs[name] {
			histories[v.key()].note("act")
		}
		ended := []string{"vmi Succeeded", "pod Succeeded", "pod ended"}
		for _, state := range ended {
			for _, v := range pairs[name] {
				w.awaitState(t, v, histories[v.key()], state)
			}
		}
		t.Logf("%s: without: %v; with: %v", name, histories[without.key()].states(), histories[with.key()].states())
		for _, v := range pairs[name] {
			shut, _ := histories[v.key()].at("vmi Succeeded")
			ended, _ := histories[v.key()].at("compute ended")
			t.Logf("%s/%s: after the power button the guest was down within %.1f s, compute ended within %.1f s", v.namespace, v.name, shut.Sub(pressed).Seconds(), ended.Sub(pressed).Seconds())
		}
		last := sidecarStatus(w.pod(t, with))
		t.Logf("sidecar at last: %s", cluster.ContainerState(last))
		assert.Equal(t, restarts, last.RestartCount, "it was held back all along")
		for _, v := range pairs[name] {
			require.NotContains(t, histories[v.key()].states(), "vmi Failed")
			require.NotContains(t, histories[v.key()].states(), "pod Failed")
		}
		// The VMI's end comes before compute's, from which the others are counted.
		require.NoError(t, compareTimes(t, histories[without.key()], histories[with.key()], ended[1:]))
	}
}

// vmKey names a VM.
type vmKey struct{ namespace, name string }

func (v vm) key() vmKey { return vmKey{v.namespace, v.name} }

// putInBackOff kills the sidecar's container until the kubelet holds it back for 20 s, longer than a guest takes to shut
// down, and returns how often it was restarted before.
func (w *world) putInBackOff(t *testing.T, v vm) (restarts int32) {
	t.Helper()
	eventually(t, patience, "the sidecar to be held back", func(ctx context.Context) error {
		pod, err := w.findPod(ctx, v)
		if err != nil {
			return err
		}
		status := sidecarStatus(pod)
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason == "CrashLoopBackOff" && status.RestartCount == 2 {
			return nil
		}
		if pid, err := w.containerPID(ctx, pod, sidecar); err == nil {
			_, _ = w.node.Run(ctx, "kill", "-9", pid) // it may be gone meanwhile
		}
		return errors.New(cluster.ContainerState(sidecarStatus(pod)))
	})
	status := sidecarStatus(w.pod(t, v))
	t.Logf("sidecar: %s", cluster.ContainerState(status))
	return status.RestartCount
}

// holdProgram kills one of the node's programs and keeps it from being started again until resume is called.
func (w *world) holdProgram(t *testing.T, program string) (resume func()) {
	t.Helper()
	ctx := context.Background() // a clean-up too
	resume = sync.OnceFunc(func() {
		_, err := w.node.Run(ctx, "rm", "-f", "/node/hold/"+program)
		require.NoError(t, err)
	})
	t.Cleanup(resume)
	_, err := w.node.Run(ctx, "touch", "/node/hold/"+program)
	require.NoError(t, err)
	require.NoError(t, w.node.Signal(ctx, program, syscall.SIGKILL))
	return resume
}

// powerOff presses the power button of the VMs' guests, side by side.
func (w *world) powerOff(t *testing.T, vms []vm) {
	t.Helper()
	var pressed sync.WaitGroup
	failures := make([]error, len(vms))
	for i, v := range vms {
		pod := w.pod(t, v)
		pressed.Go(func() {
			_, failures[i] = w.virsh(t.Context(), pod, "shutdown", v.namespace+"_"+v.name, "--mode", "acpi")
		})
	}
	pressed.Wait()
	require.NoError(t, errors.Join(failures...))
}

// awaitGuestsEnd waits until no container of the VMs' own runs any more, whatever the kubelet says.
func (w *world) awaitGuestsEnd(t *testing.T, vms []vm) {
	t.Helper()
	for _, v := range vms {
		pod := w.pod(t, v)
		eventually(t, time.Minute, "compute of "+v.namespace+"/"+v.name+" to end", func(ctx context.Context) error {
			if pid, err := w.containerPID(ctx, pod, "compute"); err == nil {
				return fmt.Errorf("process %s", pid)
			}
			return nil
		})
	}
}
