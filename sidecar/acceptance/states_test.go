package acceptance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/libvirttest"
)

// kinds are the domain types that this machine can run, with the label for each.
func kinds(t *testing.T) map[libvirttest.Type]string {
	t.Helper()
	found := map[libvirttest.Type]string{libvirttest.TCG: "qemu-tcg"}
	if err := libvirttest.HaveKVM(); err != nil {
		t.Logf("not tested with type kvm: %v", err)
	} else {
		found[libvirttest.KVM] = "kvm"
	}
	return found
}

// libvirtd starts one that ends with the test.
func libvirtd(t *testing.T) *libvirttest.Daemon {
	t.Helper()
	daemon, err := libvirttest.Start(t.Context(), libvirttest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of libvirtd:\n%s", daemon.Log())
		}
		require.NoError(t, daemon.Close())
	})
	return daemon
}

// step does something to a VM and says what may be seen of it.
type step struct {
	name string
	do   func(context.Context) error
	// shows are the values that a scraper sees from before the step until after it,
	// in this order, and no other.
	shows []string
}

func (s step) run(t *testing.T, p *sidecar, w *watcher) {
	t.Helper()
	begin := time.Now()
	before := p.page(t).number("hypervisor_exporter_detections_total")
	require.NoError(t, s.do(t.Context()), s.name)
	last := s.shows[len(s.shows)-1]
	p.await(t, last)
	if len(s.shows) == 1 && last != absent && s.name != "reset" { // libvirt has no lifecycle event for a reset
		p.awaitPage(t, func(found page) error {
			if found.number("hypervisor_exporter_detections_total") == before {
				return fmt.Errorf("%s: the type was not detected anew", s.name)
			}
			return nil
		})
	}
	p.holds(t, last, 150*time.Millisecond)
	require.Equal(t, s.shows, w.kinds(begin), "what was shown during the step %q", s.name)
}

// TestStates takes a VM through its whole life.
func TestStates(t *testing.T) {
	for kind, label := range kinds(t) {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			daemon := libvirtd(t)
			p := start(t, setup{binary: raced, socket: daemon.Socket()})
			p.awaitUp(t, true)
			w := p.watch(t, 10*time.Millisecond)
			guest := libvirttest.Guest{Namespace: "default", Name: "vm", Type: kind, Program: libvirttest.Idle}
			var vm *libvirttest.Domain
			gone, appears, stays, leaves := []string{absent}, []string{absent, label}, []string{label}, []string{label, absent}
			for _, s := range []step{
				{"define", func(ctx context.Context) (err error) { vm, err = daemon.Define(ctx, guest); return err }, gone},
				{"start", func(ctx context.Context) error { return vm.Start(ctx) }, appears},
				{"guest runs", func(ctx context.Context) error { return vm.AwaitProgram(ctx, 1) }, stays},
				{"pause", func(ctx context.Context) error { return vm.Suspend(ctx) }, stays},
				{"resume", func(ctx context.Context) error { return vm.Resume(ctx) }, stays},
				{"reset", func(ctx context.Context) error { return vm.Reset(ctx) }, stays},
				{"managed save", func(ctx context.Context) error { return vm.ManagedSave(ctx) }, leaves},
				{"start from managed save", func(ctx context.Context) error { return vm.Start(ctx) }, appears},
				{"save", func(ctx context.Context) error { return vm.Save(ctx) }, leaves},
				{"restore", func(ctx context.Context) error { return vm.Restore(ctx) }, appears},
				{"destroy", func(ctx context.Context) error { return vm.Destroy(ctx) }, leaves},
				{"start paused", func(ctx context.Context) error { return vm.StartPaused(ctx) }, appears},
				{"resume after start", func(ctx context.Context) error { return vm.Resume(ctx) }, stays},
				{"QEMU killed", func(context.Context) error { return vm.KillQEMU() }, leaves},
				{"start after the kill", func(ctx context.Context) error { return vm.Start(ctx) }, appears},
				{"destroy again", func(ctx context.Context) error { return vm.Destroy(ctx) }, leaves},
				{"undefine", func(ctx context.Context) error { return vm.Undefine(ctx) }, gone},
				{"create transient", func(ctx context.Context) (err error) { vm, err = daemon.Create(ctx, guest); return err }, appears},
				{"destroy transient", func(ctx context.Context) error { return vm.Destroy(ctx) }, leaves},
			} {
				if s.name == "guest runs" {
					require.NoError(t, s.do(t.Context()))
					continue
				}
				s.run(t, p, w)
			}
		})
	}
}
