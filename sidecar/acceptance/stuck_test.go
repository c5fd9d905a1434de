package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestQEMUHangsWithAllWorkers: 30 calls wait in the monitor of a QEMU that is frozen and
// take all of libvirt's 20 workers. The state still answers, the XML does not: the series
// stays as it is for as long as that lasts, also over a new connection. A sidecar that
// starts meanwhile cannot know the type, and learns it when QEMU goes on.
func TestQEMUHangsWithAllWorkers(t *testing.T) {
	t.Parallel()
	args := []string{"--libvirt-resync=200ms", "--libvirt-timeout=5s", "--libvirt-grace=15s"}
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	proxy := startProxy(t, daemon.Socket(), nil)
	p := start(t, setup{binary: raced, socket: proxy.socket, args: args})
	p.await(t, "qemu-tcg")
	w := p.watch(t)
	begin := time.Now()
	connects := int(p.page(t).number(connectsMetric))
	require.NoError(t, vm.StopQEMU())
	occupied, err := vm.Occupy(30)
	require.NoError(t, err)
	t.Cleanup(occupied.Close)
	awaitNoXML(t, daemon, vm.Name())

	p.holds(t, "qemu-tcg", 6*time.Second)
	require.EqualValues(t, connects, p.page(t).number(connectsMetric))
	p.awaitControl(t, "occupied", 5)
	proxy.cut()
	connects++
	p.awaitConnects(t, connects)
	p.holds(t, "qemu-tcg", 6*time.Second)
	p.awaitControl(t, "occupied", 10)
	require.EqualValues(t, connects, p.page(t).number(connectsMetric), "an answer that does not come is not a reason to leave libvirt")
	second := start(t, setup{socket: daemon.Socket(), args: args})
	second.await(t, "unknown")
	awaitNoXML(t, daemon, vm.Name())
	w.awaitKinds(t, begin, "qemu-tcg")

	require.NoError(t, vm.ContQEMU())
	second.await(t, "qemu-tcg")
	occupied.Close()
	p.awaitControl(t, "ok", 0)
	w.awaitKinds(t, begin, "qemu-tcg")
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	second.await(t, absent)
}

// awaitControl waits until QEMU's monitor is shown in the state, for at least so many seconds.
func (p *sidecar) awaitControl(t *testing.T, state string, seconds float64) {
	t.Helper()
	p.awaitPage(t, func(found page) error {
		const metric = "kubevirt_vmi_hypervisor_control_state_seconds"
		family := found.families[metric]
		if family == nil || len(family.Metric) != 1 {
			return fmt.Errorf("%s: %v", metric, family)
		}
		if got := found.number(metric, "control_state", state); got < seconds || found.number(metric) != got {
			return fmt.Errorf("%s %v", metric, family.Metric)
		}
		for _, label := range family.Metric[0].Label {
			if label.GetName() == "control_state" && label.GetValue() != state {
				return fmt.Errorf("%s is %s, want %s", metric, label.GetValue(), state)
			}
		}
		return nil
	})
}

// awaitNoXML waits until libvirt has no worker for a domain's XML.
func awaitNoXML(t *testing.T, daemon *libvirttest.Daemon, domain string) {
	t.Helper()
	testkit.Eventually(t, func() error {
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
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	p := start(t, setup{binary: raced, socket: daemon.Socket(), stderr: write, args: []string{"--libvirt-grace=3s"}})
	p.await(t, "qemu-tcg")
	w := p.watch(t)
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
