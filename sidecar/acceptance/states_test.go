package acceptance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// step does something to a VM, with what may be seen of it.
type step struct {
	name string
	do   func(context.Context) error
	// shows are the values that a scraper sees from before the step until after it,
	// in this order, and no other.
	shows []string
}

func (s step) run(t *testing.T, p *sidecar, w *watcher) {
	t.Helper()
	begin := w.begin(t, s.shows[0])
	require.NoError(t, s.do(t.Context()), s.name)
	w.awaitKinds(t, begin, s.shows...)
	p.holds(t, s.shows[len(s.shows)-1], 150*time.Millisecond)
	require.Equal(t, s.shows, w.kinds(begin), "what was shown during the step %q", s.name)
	t.Logf("%s: %v", s.name, time.Since(begin).Round(time.Millisecond))
}

// TestStates takes a VM through its whole life, with KVM where there is one: all other tests run TCG.
func TestStates(t *testing.T) {
	t.Parallel()
	kind, label := libvirttest.KVM, "kvm"
	if err := libvirttest.HaveKVM(); err != nil {
		t.Logf("not tested with type kvm: %v", err)
		kind, label = libvirttest.TCG, "qemu-tcg"
	}
	daemon := libvirttest.New(t)
	p := start(t, setup{binary: raced, socket: daemon.Socket()})
	p.awaitUp(t, true)
	w := p.watch(t)
	guest := libvirttest.Guest{Namespace: "default", Name: "vm", Type: kind, Program: libvirttest.Idle}
	var vm *libvirttest.Domain
	gone, appears, stays, leaves := []string{absent}, []string{absent, label}, []string{label}, []string{label, absent}
	for _, s := range []step{
		{name: "define", shows: gone, do: func(ctx context.Context) (err error) { vm, err = daemon.Define(ctx, guest); return err }},
		{name: "start", shows: appears, do: func(ctx context.Context) error { return vm.Start(ctx) }},
		{name: "pause", shows: stays, do: func(ctx context.Context) error { return vm.Suspend(ctx) }},
		{name: "resume", shows: stays, do: func(ctx context.Context) error { return vm.Resume(ctx) }},
		{name: "reset", shows: stays, do: func(ctx context.Context) error { return vm.Reset(ctx) }}, // libvirt has no lifecycle event for it
		{name: "managed save", shows: leaves, do: func(ctx context.Context) error { return vm.ManagedSave(ctx) }},
		{name: "start from managed save", shows: appears, do: func(ctx context.Context) error { return vm.Start(ctx) }},
		{name: "save", shows: leaves, do: func(ctx context.Context) error { return vm.Save(ctx) }},
		{name: "restore", shows: appears, do: func(ctx context.Context) error { return vm.Restore(ctx) }},
		{name: "destroy", shows: leaves, do: func(ctx context.Context) error { return vm.Destroy(ctx) }},
		{name: "start paused", shows: appears, do: func(ctx context.Context) error { return vm.StartPaused(ctx) }},
		{name: "first resume", shows: stays, do: func(ctx context.Context) error { return vm.Resume(ctx) }},
		{name: "QEMU killed", shows: leaves, do: func(context.Context) error { return vm.KillQEMU() }},
		{name: "start after that", shows: appears, do: func(ctx context.Context) error { return vm.Start(ctx) }},
		{name: "destroy it", shows: leaves, do: func(ctx context.Context) error { return vm.Destroy(ctx) }},
		{name: "undefine", shows: gone, do: func(ctx context.Context) error { return vm.Undefine(ctx) }},
		{name: "create transient", shows: appears, do: func(ctx context.Context) (err error) { vm, err = daemon.Create(ctx, guest); return err }},
		{name: "destroy transient", shows: leaves, do: func(ctx context.Context) error { return vm.Destroy(ctx) }},
	} {
		s.run(t, p, w)
	}
}

// TestGuestActs follows VMs whose guests end, crash and sleep by themselves. They boot
// under TCG only: where KVM is itself emulated, that takes a guest 20 s.
func TestGuestActs(t *testing.T) {
	t.Parallel()
	const label = "qemu-tcg"
	daemon := libvirttest.New(t)
	p := start(t, setup{socket: daemon.Socket()})
	p.awaitUp(t, true)
	w := p.watch(t)
	appears, stays, leaves := []string{absent, label}, []string{label}, []string{label, absent}
	var vm *libvirttest.Domain
	press := func(ctx context.Context) error { return vm.Shutdown(ctx) }
	destroy := step{name: "destroy", shows: leaves, do: func(ctx context.Context) error { return vm.Destroy(ctx) }}
	for _, c := range []struct {
		guest libvirttest.Guest
		then  []step
	}{
		{libvirttest.Guest{Program: libvirttest.PowerOff, OnButton: true}, []step{{name: "ACPI shutdown", shows: leaves, do: press}}},
		{libvirttest.Guest{Program: libvirttest.Reset, OnButton: true}, []step{{name: "guest resets", shows: stays, do: press}, destroy}},
		{libvirttest.Guest{Program: libvirttest.Panic, OnButton: true}, []step{{name: "panic, on_crash destroy", shows: leaves, do: press}}},
		{libvirttest.Guest{Program: libvirttest.Panic, OnButton: true, OnCrash: "preserve"}, []step{
			{name: "panic, on_crash preserve", shows: leaves, do: press},
			{name: "destroy the crashed one", shows: []string{absent}, do: destroy.do},
		}},
		{libvirttest.Guest{Program: libvirttest.Suspend, OnButton: true}, []step{
			{name: "guest sleeps", shows: stays, do: press},
			{name: "wakes", shows: stays, do: func(ctx context.Context) error { return vm.Wakeup(ctx) }},
			destroy,
		}},
	} {
		c.guest.Namespace, c.guest.Name, c.guest.Type = "default", "vm", libvirttest.TCG
		create := step{name: "create", shows: appears, do: func(ctx context.Context) (err error) {
			if vm, err = daemon.Create(ctx, c.guest); err != nil {
				return err
			}
			return vm.AwaitProgram(ctx, 1)
		}}
		for _, s := range append([]step{create}, c.then...) {
			s.run(t, p, w)
		}
		awaitForgotten(t, daemon)
	}

	// A guest that powers off at once may have ended before the sidecar reads its state. It must not be shown afterwards.
	begin := w.begin(t, absent)
	_, err := daemon.Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm", Type: libvirttest.TCG, Program: libvirttest.PowerOff})
	require.NoError(t, err)
	awaitForgotten(t, daemon)
	testkit.Eventually(t, func() error {
		if shown := w.kinds(begin); shown[len(shown)-1] != absent {
			return fmt.Errorf("the VM has ended and is shown as %q", shown)
		}
		return nil
	})
	p.holds(t, absent, 150*time.Millisecond)
	require.Contains(t, [][]string{{absent}, {absent, label, absent}}, w.kinds(begin))
}

// awaitForgotten waits until libvirt has no domain. One that ends by itself is shut down, and not shown any more, some
// time before libvirt frees its name: with QEMU slow to exit, 0.3 s were seen.
func awaitForgotten(t *testing.T, daemon *libvirttest.Daemon) {
	t.Helper()
	testkit.Eventually(t, func() error {
		names, err := daemon.Virsh(t.Context(), "list", "--all", "--name")
		if err == nil && names != "" {
			err = fmt.Errorf("libvirt still has %s", names)
		}
		return err
	})
}
