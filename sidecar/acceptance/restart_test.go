package acceptance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// TestLibvirtdGone: with the process gone, the type is unknown after the grace period,
// whatever becomes of QEMU. A libvirtd that starts again may list the dead VM as running
// for a moment; what it says then is not believed for long.
func TestLibvirtdGone(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket(), args: []string{"--libvirt-grace=2s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 10*time.Millisecond)
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
	daemon := libvirtd(t)
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

// TestLibvirtdLies: a libvirtd that lists a VM which has gone, and sends no event when it
// finds out, is asked again. The next resync is 5 minutes off.
func TestLibvirtdLies(t *testing.T) {
	t.Parallel()
	for _, wrong := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d times", wrong), func(t *testing.T) {
			t.Parallel()
			daemon := libvirtd(t)
			vm := runVM(t, daemon)
			liar := &liar{wrong: wrong}
			proxy := startProxy(t, daemon.Socket(), liar.answer)
			p := start(t, setup{socket: proxy.socket})
			p.await(t, "qemu-tcg")
			liar.begin(t)
			require.NoError(t, vm.Destroy(t.Context()))
			proxy.cut()
			p.awaitConnects(t, 2)
			p.await(t, absent)
			require.Greater(t, liar.told(), wrong)
		})
	}
}

// liar swallows events, and repeats the list of domains and the state that it has seen
// before: so many times after it begins.
type liar struct {
	wrong int

	mu          sync.Mutex
	lies        bool
	list, state frame
	lists       int
}

func (l *liar) begin(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(t, l.list)
	require.NotEmpty(t, l.state)
	l.lies = true
}

// told counts the lists since begin.
func (l *liar) told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lists
}

func (l *liar) answer(_ *link, f frame) []frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lies && f.kind() == kindMessage && f.procedure() == procLifecycle {
		return nil
	}
	if f.kind() != kindReply || f.program() != remoteProgram {
		return []frame{f}
	}
	var old *frame
	switch f.procedure() {
	case procListDomains:
		old = &l.list
		if l.lies {
			l.lists++
		}
	case procGetState:
		old = &l.state
	default:
		return []frame{f}
	}
	if !l.lies {
		*old = f
		return []frame{f}
	}
	if l.lists > l.wrong {
		return []frame{f}
	}
	lie := slices.Clone(*old)
	copy(lie[20:24], f[20:24]) // the serial number
	return []frame{lie}
}
