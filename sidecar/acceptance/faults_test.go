package acceptance

import (
	"os"
	"path/filepath"
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

// TestLibvirtdHangs: a libvirtd that stays frozen is given up, the type is kept for the
// grace period and unknown after it, and detected again once libvirtd goes on.
func TestLibvirtdHangs(t *testing.T) {
	t.Parallel()
	const grace = 3 * time.Second
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), args: []string{"--libvirt-timeout=1s", "--libvirt-grace=" + grace.String()}})
	p.await(t, "qemu-tcg")
	w := p.watch(t)
	before := p.usage(t)
	begin := time.Now()
	require.NoError(t, daemon.Stop())
	p.await(t, "unknown") // the next ping is due within 15 s
	p.holds(t, "unknown", time.Second)
	labels, err := p.page(t).labels(domainMetric)
	require.NoError(t, err)
	require.Nil(t, labels, "details of a domain that libvirt has not described for long")
	require.NoError(t, daemon.Cont())
	p.await(t, "qemu-tcg")
	p.awaitUp(t, true)
	w.awaitKinds(t, begin, "qemu-tcg", "unknown", "qemu-tcg")
	p.checkGrowth(t, before)
	require.Equal(t, 1, p.AwaitLog(t, "libvirt has not answered for the grace period"))
}

// TestSocketComesAndGoes: the socket may not be there yet, be deleted, and come back.
func TestSocketComesAndGoes(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
	p := start(t, setup{binary: raced, socket: path})
	w := p.watch(t)
	p.AwaitLog(t, "is not there")
	p.holds(t, absent, 2*time.Second) // it tries again after at most 0.1, 0.2, 0.4 and 0.8 s
	require.Equal(t, 1, p.AwaitLog(t, "is not there"), "one line, however often it is tried")

	require.NoError(t, os.Symlink(daemon.Socket(), path))
	p.await(t, "qemu-tcg")
	before := p.usage(t)
	begin := time.Now()
	for range rounds(5, 2) {
		require.NoError(t, os.Remove(path))
		p.holds(t, "qemu-tcg", 100*time.Millisecond) // the connection lives on
		require.NoError(t, daemon.Restart(t.Context()))
		p.awaitUp(t, false)
		require.NoError(t, os.Symlink(daemon.Socket(), path))
		p.awaitUp(t, true)
	}
	w.awaitKinds(t, begin, "qemu-tcg")
	p.checkGrowth(t, before)
}

// TestRefused: a sidecar with a uid that libvirt's socket refuses logs one line, and serves.
func TestRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run the sidecar as another user")
	}
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), uid: 65534})
	p.AwaitLog(t, daemon.Socket()+" refuses uid 65534")
	p.holds(t, absent, 2*time.Second) // it tries again after at most 0.1, 0.2, 0.4 and 0.8 s
	require.Equal(t, 1, p.AwaitLog(t, daemon.Socket()+" refuses uid 65534"))
	require.Equal(t, 1.0, p.page(t).number(errorMetric, "error", "libvirt"))
}

// TestWhichDomain: the domain named after the VMI is the VMI's; without it the only one that KubeVirt made; any doubt
// shows nothing. What KubeVirt did not make is in package hypervisor, TestChoose.
func TestWhichDomain(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	p := start(t, setup{socket: daemon.Socket()})
	run := func(name string) *libvirttest.Domain {
		domain, err := daemon.Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: name})
		require.NoError(t, err)
		return domain
	}
	other := run("other")
	p.await(t, "qemu-tcg")
	p.AwaitLog(t, "taking the only one with KubeVirt metadata")
	second := run("second")
	p.await(t, absent)
	require.Positive(t, p.page(t).number(errorMetric, "error", "no_match"))
	named := run("vm")
	p.await(t, "qemu-tcg")
	require.NoError(t, second.Destroy(t.Context()))
	require.NoError(t, named.Suspend(t.Context())) // the other runs, and is not taken for it
	require.NoError(t, other.Destroy(t.Context()))
	p.holds(t, "qemu-tcg", 150*time.Millisecond)
	require.NoError(t, named.Destroy(t.Context()))
	p.await(t, absent)
}
