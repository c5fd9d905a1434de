package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// rounds is how often a loop runs: the long count takes longer than all other tests together.
func rounds(long, short int) int {
	if testkit.Soak() {
		return long
	}
	return short
}

// twins are both binaries beside one libvirtd: one shows races, the other memory.
func twins(t *testing.T, daemon *libvirttest.Daemon) []*sidecar {
	t.Helper()
	var both []*sidecar
	for _, binary := range []string{plain, raced} {
		p := start(t, setup{binary: binary, socket: daemon.Socket()})
		p.awaitUp(t, true)
		both = append(both, p)
	}
	return both
}

// loop does something again and again. What the sidecars hold of the machine may not grow after the first rounds.
func loop(t *testing.T, sidecars []*sidecar, rounds int, do func(round int)) {
	t.Helper()
	const warmUp = 4
	var before []usage
	begin := time.Now()
	for i := range rounds {
		if i == min(warmUp, rounds-1) {
			for _, p := range sidecars {
				before = append(before, p.usage(t))
			}
		}
		do(i)
	}
	t.Logf("%d rounds in %v", rounds, time.Since(begin).Round(time.Millisecond))
	for i, p := range sidecars {
		p.checkGrowth(t, before[i])
	}
}

// TestRestarts kills libvirtd under a running VM, again and again.
func TestRestarts(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	both := twins(t, daemon)
	var watchers []*watcher
	for _, p := range both {
		p.await(t, "qemu-tcg")
		watchers = append(watchers, p.watch(t))
	}
	begin := time.Now()
	loop(t, both, rounds(200, 8), func(round int) {
		require.NoError(t, daemon.Kill())
		require.NoError(t, daemon.Restart(t.Context()))
		for _, p := range both {
			p.awaitConnects(t, round+2)
		}
	})
	for i, p := range both {
		p.awaitUp(t, true)
		require.Equal(t, []string{"qemu-tcg"}, watchers[i].kinds(begin), "the type throughout")
	}
	require.NoError(t, vm.Destroy(t.Context()))
	for _, p := range both {
		p.await(t, absent)
	}
}

func (p *sidecar) awaitConnects(t *testing.T, connects int) {
	t.Helper()
	p.awaitPage(t, func(found page) error {
		if got := found.number(connectsMetric); got < float64(connects) {
			return fmt.Errorf("%s is %v, want %d", connectsMetric, got, connects)
		}
		return nil
	})
}

// TestCycles starts and stops a VM, again and again.
func TestCycles(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	vm, err := daemon.Define(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	both := twins(t, daemon)
	for _, p := range both {
		p.watch(t)
	}
	rounds := rounds(500, 8)
	loop(t, both, rounds, func(int) {
		require.NoError(t, vm.Start(t.Context()))
		for _, p := range both {
			p.await(t, "qemu-tcg")
		}
		require.NoError(t, vm.Destroy(t.Context()))
		for _, p := range both {
			p.await(t, absent)
		}
	})
	for _, p := range both {
		found := p.page(t)
		require.Zero(t, found.number(errorMetric))
		require.Equal(t, 1.0, found.number(connectsMetric))
	}
}
