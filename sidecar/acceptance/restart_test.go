package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestLibvirtdGone: with the process gone, the type is unknown after the grace period,
// whatever becomes of QEMU. A libvirtd that starts again may list the dead VM as running
// for a moment; what it says then is not believed for long.
func TestLibvirtdGone(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket(), args: []string{"--libvirt-grace=2s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t)
	begin := time.Now()
	require.NoError(t, daemon.Kill())
	w.awaitKinds(t, begin, "qemu-tcg", "unknown")
	require.NoError(t, vm.KillQEMU()) // unseen
	p.holds(t, "unknown", 300*time.Millisecond)
	require.NoError(t, daemon.Restart(t.Context()))
	testkit.Eventually(t, func() error {
		shown := fmt.Sprintf("%q", w.kinds(begin))
		if shown != `["qemu-tcg" "unknown" ""]` && shown != `["qemu-tcg" "unknown" "qemu-tcg" ""]` {
			return fmt.Errorf("shown was %s", shown)
		}
		return nil
	})
}

// TestLibvirtdStartsWrong makes sure of the race that TestLibvirtdGone may meet: QEMU is
// frozen when libvirtd starts, so that libvirtd's own thread waits for it, and is killed
// then. The next resync is 5 minutes off.
func TestLibvirtdStartsWrong(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket()})
	p.await(t, "qemu-tcg")
	require.NoError(t, vm.StopQEMU())
	require.NoError(t, daemon.Restart(t.Context()))
	p.awaitConnects(t, 2)
	p.holds(t, "qemu-tcg", 300*time.Millisecond)
	require.NoError(t, vm.KillQEMU())
	p.await(t, absent)
}
