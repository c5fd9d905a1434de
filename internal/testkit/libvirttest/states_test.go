package libvirttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a start, a stop and a restore show is the same wherever they come from.
var (
	showsStart = sight{"resumed(unpaused), started(booted)", "paused(starting up), running(booted)"}
	showsSave  = sight{"suspended(paused), stopped(saved)", "paused(save), shutdown(unknown), shutoff(saved)"}
	showsBack  = sight{"started(restored), resumed(from snapshot)", "paused(starting up), paused(migration), running(restored)"}
	showsEnd   = sight{"?shutdown(host), stopped(destroyed)", "shutdown(unknown), shutoff(destroyed)"}
	// A paused guest that is restored stays "paused(migration)", as on a migration's
	// target, until someone resumes it (libvirt 9.0, qemuSaveImageStartVM).
	showsBackPaused = sight{"started(restored), suspended(restored)", "paused(starting up), paused(migration)"}
	// Of a reset, libvirt tells with an event of another kind (VIR_DOMAIN_EVENT_ID_REBOOT).
	showsNothing = sight{}
)

// TestStates is the table of what libvirt 9.0 reports in each step that is done to a
// domain from outside.
func TestStates(t *testing.T) {
	for _, kind := range types(t) {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			ctx, daemon := testContext(t), New(t)
			guest := Guest{Namespace: "ns", Name: "life", Type: kind}
			d := daemon.Domain("ns_life")
			v := watch(t, daemon, d.Name())
			for _, s := range []struct {
				name string
				do   func(context.Context) error
				want sight
			}{
				{"define", func(ctx context.Context) error { _, err := daemon.Define(ctx, guest); return err }, sight{"defined(added)", "shutoff(unknown)"}},
				{"start", d.Start, showsStart},
				{"suspend", d.Suspend, sight{"suspended(paused)", "paused(user)"}},
				{"resume", d.Resume, sight{"resumed(unpaused)", "running(unpaused)"}},
				{"reset", d.Reset, showsNothing},
				{"save", d.Save, showsSave},
				{"restore", d.Restore, showsBack},
				{"managed save", d.ManagedSave, showsSave},
				{"start from managed save", d.Start, showsBack},
				{"destroy", d.Destroy, showsEnd},
				{"start paused", d.StartPaused, sight{"started(booted), suspended(paused)", "paused(starting up), paused(user)"}},
				{"save while paused", d.Save, sight{"stopped(saved)", "paused(save), shutdown(unknown), shutoff(saved)"}},
				{"restore paused", d.Restore, showsBackPaused},
				{"resume after restore", d.Resume, sight{"resumed(unpaused)", "running(unpaused)"}},
				{"QEMU killed", func(context.Context) error { return d.KillQEMU() }, sight{"stopped(failed)", "shutoff(crashed)"}},
				{"undefine", d.Undefine, sight{"undefined(removed)", "none"}},
				{"create transient", func(ctx context.Context) error { _, err := daemon.Create(ctx, guest); return err }, showsStart},
				{"destroy transient", d.Destroy, sight{"?shutdown(host), stopped(destroyed)", "shutdown(unknown), shutoff(destroyed), none"}},
			} {
				require.NoError(t, s.do(ctx), s.name)
				v.shows(t, s.name, s.want)
			}
		})
	}
}

// TestProgramStates is the table of what libvirt 9.0 reports when the guest itself acts.
func TestProgramStates(t *testing.T) {
	for _, s := range []struct {
		name  string
		guest Guest
		want  sight
	}{
		{"guest shuts down", Guest{Program: PowerOff}, sight{"shutdown(guest), stopped(shutdown)", "shutdown(unknown), shutoff(shutdown)"}},
		{"guest resets", Guest{Program: Reset}, showsNothing},
		{"guest panics, on_crash destroy", Guest{Program: Panic}, sight{"?suspended(paused), crashed(panicked), stopped(crashed)", "paused(unknown), crashed(panicked), shutoff(crashed)"}},
		{"guest panics, on_crash preserve", Guest{Program: Panic, OnCrash: "preserve"}, sight{"?suspended(paused), crashed(panicked)", "paused(unknown), crashed(panicked)"}},
		{"guest panics, on_crash restart", Guest{Program: Panic, OnCrash: "restart"}, sight{"?suspended(paused), crashed(panicked), resumed(unpaused)", "paused(unknown), crashed(panicked), running(crashed)"}},
		{"guest suspends", Guest{Program: Suspend}, sight{"pmsuspended(memory)", "pmsuspended(unknown)"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			for _, kind := range types(t) {
				if kind == KVM && s.guest.Program != PowerOff {
					continue // 5 s each where KVM is emulated, and QEMU's part is the same
				}
				t.Run(string(kind), func(t *testing.T) {
					t.Parallel()
					ctx, daemon := testContext(t), New(t)
					g := s.guest
					g.Namespace, g.Name, g.Type, g.OnButton = "ns", "acts", kind, true
					v := watch(t, daemon, "ns_acts")
					d, err := daemon.Create(ctx, g)
					require.NoError(t, err)
					v.shows(t, "create", showsStart)
					require.NoError(t, d.AwaitProgram(ctx, 1))
					require.NoError(t, d.Shutdown(ctx))
					if g.Program == Reset {
						require.NoError(t, d.AwaitProgram(ctx, 2))
					}
					want := s.want
					switch {
					case g.Program == PowerOff, g.Program == Panic && g.OnCrash == "":
						want.states += ", none" // it was transient
					}
					v.shows(t, s.name, want)
					if g.Program == Suspend {
						require.NoError(t, d.Wakeup(ctx))
						v.shows(t, "wakeup", sight{"started(wakeup)", "running(wakeup)"})
					}
				})
			}
		})
	}
}
