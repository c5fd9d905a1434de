package acceptance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// sides are two libvirtds, each with the sidecar of one VMI's pod beside it, and what the VM is there.
type sides struct {
	kind     libvirttest.Type
	label    string
	daemons  [2]*libvirttest.Daemon
	sidecars [2]*sidecar
	watchers [2]*watcher
	begin    time.Time
}

func startSides(t *testing.T, kind libvirttest.Type, label string) *sides {
	s := &sides{kind: kind, label: label}
	for i := range 2 {
		s.daemons[i] = libvirttest.New(t)
		s.sidecars[i] = start(t, setup{socket: s.daemons[i].Socket(), vmi: vmi{"default", "vm", fmt.Sprintf("node-%d", i)}})
		s.sidecars[i].awaitUp(t, true)
		s.watchers[i] = s.sidecars[i].watch(t)
	}
	return s
}

// run starts the VM on the source; what is measured begins now.
func (s *sides) run(t *testing.T, program libvirttest.Program) *libvirttest.Domain {
	t.Helper()
	for _, daemon := range s.daemons {
		awaitForgotten(t, daemon)
	}
	vm, err := s.daemons[0].Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm", Type: s.kind, Program: program})
	require.NoError(t, err)
	if program != libvirttest.NoProgram {
		require.NoError(t, vm.AwaitProgram(t.Context(), 1))
	}
	s.sidecars[0].await(t, s.label)
	s.sidecars[1].await(t, absent)
	s.begin = s.watchers[0].begin(t, s.label)
	s.watchers[1].awaitKinds(t, s.begin, absent)
	return vm
}

// changed is the newest change that a side reported while it showed the VMI.
func (s *sides) changed(side int) (newest float64) {
	for _, sample := range s.watchers[side].since(s.begin) {
		if sample.kind != absent {
			newest = max(newest, sample.changed)
		}
	}
	return newest
}

// TestMigration scrapes both sides all the while that a VM moves, or fails to.
func TestMigration(t *testing.T) {
	t.Parallel()
	s := startSides(t, libvirttest.TCG, "qemu-tcg")
	t.Run("pre-copy", func(t *testing.T) { testPreCopy(t, s, libvirttest.Idle) })
	t.Run("post-copy", func(t *testing.T) { testPostCopy(t, s) })
	t.Run("stalled", func(t *testing.T) { testStalled(t, s) })
	t.Run("while paused", func(t *testing.T) { testPausedMoves(t, s) })
	t.Run("failed", func(t *testing.T) { testFailed(t, s) })
	t.Run("target lost in post-copy", func(t *testing.T) { testTargetLost(t, s) })
}

// TestMigrationKVM moves a guest that has nothing to boot, see TestGuestActs.
func TestMigrationKVM(t *testing.T) {
	t.Parallel()
	if err := libvirttest.HaveKVM(); err != nil {
		t.Skip(err)
	}
	testPreCopy(t, startSides(t, libvirttest.KVM, "kvm"), libvirttest.NoProgram)
}

func testPreCopy(t *testing.T, s *sides, program libvirttest.Program) {
	vm := s.run(t, program)
	moved, err := vm.Migrate(t.Context(), s.daemons[1], libvirttest.MigrateOptions{})
	require.NoError(t, err)
	s.checkMoved(t)
	s.remove(t, moved)
}

func testPostCopy(t *testing.T, s *sides) {
	vm := s.run(t, libvirttest.Busy)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{PostCopy: true, Bandwidth: 1})
	require.NoError(t, m.SwitchToPostCopy(t.Context()))
	require.NoError(t, m.Wait())
	s.checkMoved(t)
	s.remove(t, m.Target)
}

// testStalled: the target's libvirtd freezes while memory is copied. QEMU ends the copy, and
// the source waits, paused for the migration, for a target that does not begin: for as
// long as that lasts the source is shown, and the target is not.
func testStalled(t *testing.T, s *sides) {
	const stall = 2 * time.Second
	vm := s.run(t, libvirttest.Busy)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{Bandwidth: 1})
	require.NoError(t, s.daemons[1].Stop())
	require.NoError(t, m.SetBandwidth(t.Context(), 1000))
	testkit.Eventually(t, func() error {
		state, err := s.daemons[0].Virsh(t.Context(), "domstate", "--reason", vm.Name())
		if err == nil && state != "paused (migrating)" {
			err = errors.New(state)
		}
		return err
	})
	s.sidecars[0].holds(t, s.label, stall)
	s.sidecars[1].holds(t, absent, 100*time.Millisecond)
	require.NoError(t, s.daemons[1].Cont())
	require.NoError(t, m.Wait())
	s.checkMoved(t)
	s.remove(t, m.Target)
}

// testPausedMoves: a VM that its user has paused moves, too, and is shown on the target then.
func testPausedMoves(t *testing.T, s *sides) {
	vm := s.run(t, libvirttest.Idle)
	require.NoError(t, vm.Suspend(t.Context()))
	moved, err := vm.Migrate(t.Context(), s.daemons[1], libvirttest.MigrateOptions{})
	require.NoError(t, err)
	s.watchers[0].awaitKinds(t, s.begin, s.label, absent)
	s.watchers[1].awaitKinds(t, s.begin, absent, s.label)
	s.remove(t, moved)
}

// remove ends the VM on the target, where the migration has made it persistent.
func (s *sides) remove(t *testing.T, vm *libvirttest.Domain) {
	t.Helper()
	require.NoError(t, vm.Destroy(t.Context()))
	require.NoError(t, vm.Undefine(t.Context()))
	s.sidecars[1].await(t, absent)
}

// checkMoved: the VMI is shown by the target alone. While both show it, the target's change is
// the newer one.
func (s *sides) checkMoved(t *testing.T) {
	t.Helper()
	s.sidecars[0].await(t, absent)
	s.sidecars[1].await(t, s.label)
	s.watchers[0].awaitKinds(t, s.begin, s.label, absent)
	s.watchers[1].awaitKinds(t, s.begin, absent, s.label)
	require.Less(t, s.changed(0), s.changed(1), "the recording rule :newest takes the target while both are shown")
}

// testFailed: a migration that fails while it copies is not seen at all.
func testFailed(t *testing.T, s *sides) {
	vm := s.run(t, libvirttest.Busy)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{Bandwidth: 1})
	require.NoError(t, m.Target.KillQEMU())
	require.Error(t, m.Wait())
	s.sidecars[0].holds(t, s.label, 300*time.Millisecond)
	s.sidecars[1].holds(t, absent, 300*time.Millisecond)
	require.Equal(t, []string{s.label}, s.watchers[0].kinds(s.begin))
	require.Equal(t, []string{absent}, s.watchers[1].kinds(s.begin))
	require.NoError(t, vm.Destroy(t.Context()))
	s.sidecars[0].await(t, absent)
}

// slowPostCopy leaves time to do things while the memory is in two places.
var slowPostCopy = libvirttest.MigrateOptions{PostCopy: true, Bandwidth: 1, PostCopyBandwidth: 4}

// testTargetLost: a VM whose memory is torn in two, and that has lost one half, runs nowhere.
func testTargetLost(t *testing.T, s *sides) {
	vm := s.run(t, libvirttest.Busy)
	m := startMigration(t, vm, s, slowPostCopy)
	require.NoError(t, m.SwitchToPostCopy(t.Context()))
	s.sidecars[1].await(t, s.label)
	require.NoError(t, m.Target.KillQEMU())
	require.Error(t, m.Wait())
	s.watchers[1].awaitKinds(t, s.begin, absent, s.label, absent)
	s.sidecars[0].holds(t, absent, 300*time.Millisecond)
	s.watchers[0].awaitKinds(t, s.begin, s.label, absent)
	require.NoError(t, vm.Destroy(t.Context()))
	require.NoError(t, m.Target.Undefine(t.Context()))
}

func startMigration(t *testing.T, vm *libvirttest.Domain, s *sides, o libvirttest.MigrateOptions) *libvirttest.Migration {
	t.Helper()
	m, err := vm.StartMigration(t.Context(), s.daemons[1], o)
	require.NoError(t, err)
	require.NoError(t, m.AwaitCopying(t.Context()))
	return m
}
