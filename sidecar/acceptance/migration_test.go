package acceptance

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// eventSlack is how long events and the reads that follow them may take on a busy
// machine, scraping included. An event that was missed would be made up for by the resync,
// 5 minutes later.
const eventSlack = 20 * time.Second

// sides are two libvirtds, each with the sidecar of one VMI's pod beside it.
type sides struct {
	daemons  [2]*libvirttest.Daemon
	sidecars [2]*sidecar
	watchers [2]*watcher
	records  [2]*libvirttest.Recorder
	begin    time.Time
}

func startSides(t *testing.T) *sides {
	s := &sides{}
	for i := range 2 {
		s.daemons[i] = libvirtd(t)
		s.sidecars[i] = start(t, setup{socket: s.daemons[i].Socket(), vmi: vmi{"default", "vm", fmt.Sprintf("node-%d", i)}})
		s.sidecars[i].awaitUp(t, true)
		s.watchers[i] = s.sidecars[i].watch(t, 5*time.Millisecond)
		record, err := s.daemons[i].Record(0)
		require.NoError(t, err)
		t.Cleanup(record.Close)
		s.records[i] = record
	}
	return s
}

// run starts the VM on the source; what is measured begins now.
func (s *sides) run(t *testing.T, kind libvirttest.Type, program libvirttest.Program, label string) *libvirttest.Domain {
	t.Helper()
	for _, daemon := range s.daemons {
		awaitForgotten(t, daemon)
	}
	vm, err := s.daemons[0].Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm", Type: kind, Program: program})
	require.NoError(t, err)
	if program != libvirttest.NoProgram {
		require.NoError(t, vm.AwaitProgram(t.Context(), 1))
	}
	s.sidecars[0].await(t, label)
	s.sidecars[1].await(t, absent)
	s.begin = s.watchers[0].begin(t, label)
	s.watchers[1].awaitKinds(t, s.begin, absent)
	return vm
}

// shown measures for how long both sides at once showed the VMI, and neither.
func (s *sides) shown() (both, neither time.Duration) {
	type mark struct {
		at   time.Time
		side int
		kind string
	}
	var marks []mark
	for side, w := range s.watchers {
		for _, sample := range w.since(s.begin) {
			marks = append(marks, mark{sample.at, side, sample.kind})
		}
	}
	slices.SortFunc(marks, func(a, b mark) int { return a.at.Compare(b.at) })
	present := [2]bool{true, false}
	for i, m := range marks {
		present[m.side] = m.kind != absent
		lasts := time.Duration(0)
		if i+1 < len(marks) {
			lasts = marks[i+1].at.Sub(m.at)
		}
		switch present {
		case [2]bool{true, true}:
			both += lasts
		case [2]bool{false, false}:
			neither += lasts
		}
	}
	return both, neither
}

// changed is the newest change that a side told of while it showed the VMI.
func (s *sides) changed(side int) (newest float64) {
	for _, sample := range s.watchers[side].since(s.begin) {
		if sample.kind != absent {
			newest = max(newest, sample.changed)
		}
	}
	return newest
}

// switchOver is how long the guest ran on neither side, as libvirt's events have it.
func (s *sides) switchOver(t *testing.T) time.Duration {
	t.Helper()
	return s.event(t, 1, "resumed(migrated)", "resumed(post-copy)").Sub(s.event(t, 0, "suspended(migrated)"))
}

// event is when the first of the events came on a side; the recorder may hear of it
// after the sidecar.
func (s *sides) event(t *testing.T, side int, events ...string) (at time.Time) {
	t.Helper()
	testkit.Eventually(t, func() error {
		entries := s.records[side].Entries("default_vm")
		for _, entry := range entries {
			if entry.At.After(s.begin) && entry.Event != nil && slices.Contains(events, entry.Event.String()) {
				at = entry.At
				return nil
			}
		}
		return fmt.Errorf("no event of %v among %v", events, entries)
	})
	return at
}

// TestMigration scrapes both sides all the while that a VM moves, or fails to.
func TestMigration(t *testing.T) {
	t.Parallel()
	const kind, label = libvirttest.TCG, "qemu-tcg"
	s := startSides(t)
	t.Run("pre-copy", func(t *testing.T) { testPreCopy(t, s, kind, libvirttest.Idle, label) })
	t.Run("post-copy", func(t *testing.T) { testPostCopy(t, s, kind, label) })
	t.Run("stalled", func(t *testing.T) { testStalled(t, s, kind, label) })
	t.Run("while paused", func(t *testing.T) { testPausedMoves(t, s, kind, label) })
	t.Run("aborted", func(t *testing.T) {
		testFailed(t, s, kind, label, (*libvirttest.Migration).Abort)
	})
	t.Run("failed", func(t *testing.T) {
		testFailed(t, s, kind, label, func(m *libvirttest.Migration, _ context.Context) error { return m.Target.KillQEMU() })
	})
	t.Run("target lost in post-copy", func(t *testing.T) { testTargetLost(t, s, kind, label) })
	t.Run("link lost in post-copy", func(t *testing.T) { testLinkLost(t, s, kind, label) })
}

// TestMigrationKVM moves a guest that has nothing to boot, see TestGuestActs.
func TestMigrationKVM(t *testing.T) {
	t.Parallel()
	if err := libvirttest.HaveKVM(); err != nil {
		t.Skip(err)
	}
	testPreCopy(t, startSides(t), libvirttest.KVM, libvirttest.NoProgram, "kvm")
}

func testPreCopy(t *testing.T, s *sides, kind libvirttest.Type, program libvirttest.Program, label string) {
	vm := s.run(t, kind, program, label)
	moved, err := vm.Migrate(t.Context(), s.daemons[1], libvirttest.MigrateOptions{})
	require.NoError(t, err)
	s.checkMoved(t, label)
	s.remove(t, moved)
}

func testPostCopy(t *testing.T, s *sides, kind libvirttest.Type, label string) {
	vm := s.run(t, kind, libvirttest.Busy, label)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{PostCopy: true, Bandwidth: 1})
	require.NoError(t, m.SwitchToPostCopy(t.Context()))
	require.NoError(t, m.Wait())
	s.checkMoved(t, label)
	s.remove(t, m.Target)
}

// testStalled: the target's libvirtd freezes while memory is copied. QEMU ends the copy, and
// the source waits, paused for the migration, for a target that does not begin: for as
// long as that lasts the source is shown, and the target is not.
func testStalled(t *testing.T, s *sides, kind libvirttest.Type, label string) {
	const stall = 5 * time.Second
	vm := s.run(t, kind, libvirttest.Busy, label)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{Bandwidth: 1})
	require.NoError(t, s.daemons[1].Stop())
	require.NoError(t, m.SetBandwidth(t.Context(), 1000))
	s.event(t, 0, "suspended(migrated)")
	state, err := s.daemons[0].Virsh(t.Context(), "domstate", "--reason", vm.Name())
	require.NoError(t, err)
	require.Equal(t, "paused (migrating)", state)
	s.sidecars[0].holds(t, label, stall)
	s.sidecars[1].holds(t, absent, 100*time.Millisecond)
	require.NoError(t, s.daemons[1].Cont())
	require.NoError(t, m.Wait())
	s.checkMoved(t, label)
	s.remove(t, m.Target)
}

// testPausedMoves: a VM that its user has paused goes over while it stands still. libvirt
// reports it paused on the target before it is gone from the source: for as long, and no
// longer, both show it.
func testPausedMoves(t *testing.T, s *sides, kind libvirttest.Type, label string) {
	vm := s.run(t, kind, libvirttest.Idle, label)
	require.NoError(t, vm.Suspend(t.Context()))
	moved, err := vm.Migrate(t.Context(), s.daemons[1], libvirttest.MigrateOptions{})
	require.NoError(t, err)
	s.watchers[0].awaitKinds(t, s.begin, label, absent)
	s.watchers[1].awaitKinds(t, s.begin, absent, label)
	reported := s.event(t, 0, "stopped(migrated)").Sub(s.event(t, 1, "suspended(paused)"))
	both, neither := s.shown()
	t.Logf("libvirt reported it on both for %v; shown by both %v, by neither %v", reported, both, neither)
	require.LessOrEqual(t, both, max(reported, 0)+eventSlack)
	require.LessOrEqual(t, neither, max(-reported, 0)+eventSlack)
	s.remove(t, moved)
}

// remove ends the VM on the target, where the migration has made it persistent.
func (s *sides) remove(t *testing.T, vm *libvirttest.Domain) {
	t.Helper()
	require.NoError(t, vm.Destroy(t.Context()))
	require.NoError(t, vm.Undefine(t.Context()))
	s.sidecars[1].await(t, absent)
}

// checkMoved: the VMI is shown by the target alone. From when the guest goes on there
// until libvirt shuts the source off, both show it; at no time neither does, but in
// post-copy, where the source is gone as soon as it is paused.
func (s *sides) checkMoved(t *testing.T, label string) {
	t.Helper()
	s.sidecars[0].await(t, absent)
	s.sidecars[1].await(t, label)
	switchOver := s.switchOver(t)
	s.watchers[0].awaitKinds(t, s.begin, label, absent)
	s.watchers[1].awaitKinds(t, s.begin, absent, label)
	both, neither := s.shown()
	confirmed := s.event(t, 0, "stopped(migrated)").Sub(s.event(t, 1, "resumed(migrated)", "resumed(post-copy)"))
	t.Logf("guest's switch-over %v, confirmed %v later; shown by both %v, by neither %v", switchOver, confirmed, both, neither)
	require.LessOrEqual(t, both, max(confirmed, 0)+eventSlack)
	require.Less(t, s.changed(0), s.changed(1), "the recording rule :newest takes the target while both are shown")
	require.LessOrEqual(t, neither, max(switchOver, 0)+eventSlack)
}

// testFailed: a migration that fails while it copies is not seen at all.
func testFailed(t *testing.T, s *sides, kind libvirttest.Type, label string, fail func(*libvirttest.Migration, context.Context) error) {
	vm := s.run(t, kind, libvirttest.Busy, label)
	m := startMigration(t, vm, s, libvirttest.MigrateOptions{Bandwidth: 1})
	require.NoError(t, fail(m, t.Context()))
	require.Error(t, m.Wait())
	s.sidecars[0].holds(t, label, 300*time.Millisecond)
	s.sidecars[1].holds(t, absent, 300*time.Millisecond)
	require.Equal(t, []string{label}, s.watchers[0].kinds(s.begin))
	require.Equal(t, []string{absent}, s.watchers[1].kinds(s.begin))
	require.NoError(t, vm.Destroy(t.Context()))
	s.sidecars[0].await(t, absent)
}

// slowPostCopy leaves time to do things while the memory is in two places.
var slowPostCopy = libvirttest.MigrateOptions{PostCopy: true, Bandwidth: 1, PostCopyBandwidth: 4, Breakable: true}

// testTargetLost: a VM whose memory is torn in two, and that has lost one half, runs nowhere.
func testTargetLost(t *testing.T, s *sides, kind libvirttest.Type, label string) {
	vm := s.run(t, kind, libvirttest.Busy, label)
	m := startMigration(t, vm, s, slowPostCopy)
	require.NoError(t, m.SwitchToPostCopy(t.Context()))
	s.sidecars[1].await(t, label)
	require.NoError(t, m.Target.KillQEMU())
	require.Error(t, m.Wait())
	s.watchers[1].awaitKinds(t, s.begin, absent, label, absent)
	s.sidecars[0].holds(t, absent, 300*time.Millisecond)
	s.watchers[0].awaitKinds(t, s.begin, label, absent)
	require.NoError(t, vm.Destroy(t.Context()))
	require.NoError(t, m.Target.Undefine(t.Context()))
}

// testLinkLost: a target that waits for memory which does not come is running to libvirt,
// hence to KubeVirt; the source is not.
func testLinkLost(t *testing.T, s *sides, kind libvirttest.Type, label string) {
	vm := s.run(t, kind, libvirttest.Busy, label)
	m := startMigration(t, vm, s, slowPostCopy)
	require.NoError(t, m.SwitchToPostCopy(t.Context()))
	s.sidecars[1].await(t, label)
	m.Break()
	require.Error(t, m.Wait())
	s.sidecars[0].holds(t, absent, 300*time.Millisecond)
	s.watchers[0].awaitKinds(t, s.begin, label, absent)
	s.watchers[1].awaitKinds(t, s.begin, absent, label)
	require.NoError(t, vm.Destroy(t.Context()))
	s.remove(t, m.Target)
}

func startMigration(t *testing.T, vm *libvirttest.Domain, s *sides, o libvirttest.MigrateOptions) *libvirttest.Migration {
	t.Helper()
	m, err := vm.StartMigration(t.Context(), s.daemons[1], o)
	require.NoError(t, err)
	require.NoError(t, m.AwaitCopying(t.Context()))
	return m
}
