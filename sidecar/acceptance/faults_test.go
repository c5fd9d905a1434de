package acceptance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// runVM starts the VMI's VM under TCG.
func runVM(t *testing.T, daemon *libvirttest.Daemon) *libvirttest.Domain {
	t.Helper()
	vm, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	return vm
}

// TestLibvirtdStopsBriefly: a libvirtd that is frozen for 10 s changes nothing, and
// keeps no scrape waiting; afterwards the sidecar follows as before.
func TestLibvirtdStopsBriefly(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket()})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 10*time.Millisecond)
	begin := time.Now()
	require.NoError(t, daemon.Stop())
	<-time.After(10 * time.Second)
	require.NoError(t, daemon.Cont())
	p.awaitUp(t, true)
	w.awaitKinds(t, begin, "qemu-tcg")
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
}

// TestLibvirtdHangs: a libvirtd that stays frozen is given up, the type is kept for the
// grace period and unknown after it, and detected again once libvirtd goes on.
func TestLibvirtdHangs(t *testing.T) {
	t.Parallel()
	const grace = 3 * time.Second
	daemon := libvirtd(t)
	runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), args: []string{"--libvirt-timeout=1s", "--libvirt-grace=" + grace.String()}})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 10*time.Millisecond)
	before := p.usage(t)
	begin := time.Now()
	require.NoError(t, daemon.Stop())
	p.await(t, "unknown") // the next sign of life is due within 15 s
	p.holds(t, "unknown", time.Second)
	labels, err := p.page(t).labels(domainMetric)
	require.NoError(t, err)
	require.Nil(t, labels, "details of a domain that nobody has heard of for long")
	require.NoError(t, daemon.Cont())
	p.await(t, "qemu-tcg")
	p.awaitUp(t, true)
	w.awaitKinds(t, begin, "qemu-tcg", "unknown", "qemu-tcg")
	p.checkGrowth(t, before)
	require.Equal(t, 1, p.AwaitLog(t, "libvirt has not answered for the grace period"))
}

// TestQEMUHangs: a QEMU that answers nothing runs, as far as anybody can tell.
func TestQEMUHangs(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket(), args: []string{"--libvirt-resync=200ms", "--libvirt-timeout=1s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 10*time.Millisecond)
	begin := time.Now()
	connects := p.page(t).number(connectsMetric)
	require.NoError(t, vm.StopQEMU())
	p.holds(t, "qemu-tcg", 4*time.Second)
	require.NoError(t, vm.ContQEMU())
	require.Equal(t, connects, p.page(t).number(connectsMetric), "a hanging QEMU is no reason to leave libvirt")
	w.awaitKinds(t, begin, "qemu-tcg")
	require.NoError(t, vm.StopQEMU())
	require.NoError(t, vm.KillQEMU())
	p.await(t, absent)
}

// TestSocketComesAndGoes: the socket may not be there yet, be deleted, and come back.
func TestSocketComesAndGoes(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
	p := start(t, setup{binary: raced, socket: path})
	w := p.watch(t, 20*time.Millisecond)
	p.awaitErrors(t, 4)
	p.holds(t, absent, 100*time.Millisecond)
	require.Equal(t, 1, p.AwaitLog(t, "is not there"), "one line, however often it is tried")

	require.NoError(t, os.Symlink(daemon.Socket(), path))
	p.await(t, "qemu-tcg")
	before := p.usage(t)
	begin := time.Now()
	for i := range 5 {
		require.NoError(t, os.Remove(path))
		p.holds(t, "qemu-tcg", 100*time.Millisecond) // the connection lives on
		require.NoError(t, daemon.Restart(t.Context()))
		p.awaitErrors(t, 5+i)
		p.awaitUp(t, false)
		require.NoError(t, os.Symlink(daemon.Socket(), path))
		p.awaitUp(t, true)
	}
	w.awaitKinds(t, begin, "qemu-tcg")
	p.checkGrowth(t, before)
}

// awaitErrors waits for so many failures to reach libvirt.
func (p *sidecar) awaitErrors(t *testing.T, count int) {
	t.Helper()
	p.awaitPage(t, func(found page) error {
		if got := found.number(errorsMetric, "reason", "libvirt"); got < float64(count) {
			return fmt.Errorf("%v errors of libvirt, want %d", got, count)
		}
		return nil
	})
}

// TestRefused: a uid that libvirt's socket is closed to says so in one line, and serves.
func TestRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run the sidecar as another user")
	}
	daemon := libvirtd(t)
	runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), uid: 65534})
	p.watch(t, 20*time.Millisecond)
	p.awaitErrors(t, 4)
	require.Equal(t, 1, p.AwaitLog(t, "refuses uid 65534"))
	require.Equal(t, 1, strings.Count(p.Log(), `"level":"WARN"`))
	require.Contains(t, p.Log(), daemon.Socket())
	p.holds(t, absent, 100*time.Millisecond)
	require.True(t, p.alive())
}

// TestTurnedAway: some virtqemuds take the connection of a process that they do not
// want, and hang up.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
	serveSocket(t, path, func(net.Conn) {})
	p := start(t, setup{socket: path})
	p.watch(t, 20*time.Millisecond)
	p.awaitErrors(t, 4)
	require.Equal(t, 1, p.AwaitLog(t, "turns uid 107 away"))
	p.holds(t, absent, 100*time.Millisecond)
}

// TestVanishing: domains that go while they are looked at are no error.
func TestVanishing(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), args: []string{"--libvirt-resync=1ms"}})
	p.awaitUp(t, true)
	p.watch(t, 20*time.Millisecond)
	for range 5 {
		vm, err := daemon.Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
		require.NoError(t, err)
		require.NoError(t, vm.Destroy(t.Context()))
	}
	p.await(t, absent)
	found := p.page(t)
	require.Zero(t, found.number(errorsMetric))
	require.Equal(t, 1.0, found.number(connectsMetric))
}
