package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/libvirttest"
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
	p := start(t, setup{binary: raced, socket: daemon.Socket(), args: []string{"--libvirt.timeout=1s", "--libvirt.grace=" + grace.String(), "--web.runtime-metrics"}})
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
	require.Equal(t, 1, p.awaitLog(t, "libvirt has not answered for the grace period"))
}

// TestLibvirtdGone: with the process gone, the type is unknown after the grace period,
// whatever becomes of QEMU. A libvirtd that starts again may list the dead VM as running
// for a moment; what it says then is not believed for long.
func TestLibvirtdGone(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket(), args: []string{"--libvirt.grace=2s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 10*time.Millisecond)
	begin := time.Now()
	require.NoError(t, daemon.Kill())
	w.awaitKinds(t, begin, "qemu-tcg", "unknown")
	require.NoError(t, vm.KillQEMU()) // unseen
	p.holds(t, "unknown", 300*time.Millisecond)
	require.NoError(t, daemon.Restart(t.Context()))
	eventually(t, func() error {
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

// TestQEMUHangs: a QEMU that answers nothing runs, as far as anybody can tell.
func TestQEMUHangs(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket(), args: []string{"--libvirt.resync=200ms", "--libvirt.timeout=1s"}})
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

// TestQEMUHangsWithAllWorkers: 30 calls wait in the monitor of a QEMU that is frozen and
// take all of libvirt's 20 workers. The state still answers, the XML does not: the series
// stays as it is for as long as that lasts, also over a new connection. A sidecar that
// starts meanwhile cannot know the type, and learns it when QEMU goes on.
func TestQEMUHangsWithAllWorkers(t *testing.T) {
	t.Parallel()
	args := []string{"--libvirt.resync=200ms", "--libvirt.timeout=2s", "--libvirt.grace=5s"}
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	proxy := startProxy(t, daemon.Socket(), nil)
	p := start(t, setup{binary: raced, socket: proxy.socket, args: args})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 20*time.Millisecond)
	begin := time.Now()
	connects := int(p.page(t).number(connectsMetric))
	require.NoError(t, vm.StopQEMU())
	occupied, err := vm.Occupy(30)
	require.NoError(t, err)
	t.Cleanup(occupied.Close)
	awaitNoXML(t, daemon, vm.Name())

	p.holds(t, "qemu-tcg", 6*time.Second)
	require.EqualValues(t, connects, p.page(t).number(connectsMetric))
	for range 2 {
		proxy.cut()
		connects++
		p.awaitConnects(t, connects)
		p.holds(t, "qemu-tcg", 6*time.Second)
		require.EqualValues(t, connects, p.page(t).number(connectsMetric), "an answer that does not come is no reason to leave libvirt")
	}
	for _, link := range proxy.openXML() {
		require.LessOrEqual(t, link, 1, "open questions for XML on one connection")
	}
	second := start(t, setup{socket: daemon.Socket(), args: args})
	second.await(t, "unknown")
	awaitNoXML(t, daemon, vm.Name())
	w.awaitKinds(t, begin, "qemu-tcg")

	require.NoError(t, vm.ContQEMU())
	second.await(t, "qemu-tcg")
	occupied.Close()
	w.awaitKinds(t, begin, "qemu-tcg")
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	second.await(t, absent)
}

// awaitNoXML waits until libvirt has no worker for a domain's XML.
func awaitNoXML(t *testing.T, daemon *libvirttest.Daemon, domain string) {
	t.Helper()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := daemon.Virsh(ctx, "dumpxml", domain); err == nil {
			return errors.New("libvirt still sends XML")
		}
		return nil
	})
}

// TestLogStuck: a log pipe that is full holds the sidecar's only goroutine that asks
// libvirt. What is shown ages nevertheless, and is true again once the log is read.
func TestLogStuck(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	daemon := libvirtd(t)
	vm := runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), stderr: write, args: []string{"--libvirt.grace=3s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 20*time.Millisecond)
	begin := time.Now()
	fill(t, write)
	require.NoError(t, vm.Destroy(t.Context())) // a line for the log
	p.await(t, absent)
	require.NoError(t, vm.Start(t.Context())) // which the sidecar cannot learn
	p.awaitUp(t, false)
	require.NoError(t, write.Close())
	go func() { _, _ = io.Copy(io.Discard, read) }()
	p.awaitUp(t, true)
	p.await(t, "qemu-tcg")
	w.awaitKinds(t, begin, "qemu-tcg", absent, "qemu-tcg")

	read2, write2, err := os.Pipe()
	require.NoError(t, err)
	p = start(t, setup{socket: daemon.Socket(), stderr: write2, args: []string{"--libvirt.grace=3s"}})
	p.await(t, "qemu-tcg")
	w = p.watch(t, 20*time.Millisecond)
	begin = time.Now()
	fill(t, write2)
	require.NoError(t, daemon.Restart(t.Context())) // a line for the log
	p.await(t, "unknown")
	p.awaitUp(t, false)
	p.holds(t, "unknown", time.Second)
	require.NoError(t, write2.Close())
	go func() { _, _ = io.Copy(io.Discard, read2) }()
	p.await(t, "qemu-tcg")
	w.awaitKinds(t, begin, "qemu-tcg", "unknown", "qemu-tcg")
}

// fill writes to a pipe until it is full. It opens the pipe again: the sidecar's end of it
// is one that blocks.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", pipe.Fd()), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer again.Close()
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			require.NoError(t, again.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
			_, err = again.Write(make([]byte, size))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}

// TestSocketComesAndGoes: the socket may not be there yet, be deleted, and come back.
func TestSocketComesAndGoes(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
	p := start(t, setup{binary: raced, socket: path, args: []string{"--web.runtime-metrics"}})
	w := p.watch(t, 20*time.Millisecond)
	p.awaitErrors(t, 4)
	p.holds(t, absent, 100*time.Millisecond)
	require.Equal(t, 1, p.awaitLog(t, "is not there"), "one line, however often it is tried")

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
	require.Equal(t, 1, p.awaitLog(t, "refuses uid 65534"))
	require.Equal(t, 1, strings.Count(p.log.String(), "level=WARN"))
	require.Contains(t, p.log.String(), daemon.Socket())
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
	require.Equal(t, 1, p.awaitLog(t, "turns uid 107 away"))
	p.holds(t, absent, 100*time.Millisecond)
}

// TestVanishing: domains that go while they are looked at are no error.
func TestVanishing(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), args: []string{"--libvirt.resync=1ms"}})
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
