package libvirttest

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDaemon: it is what a virt-launcher pod has, guests outlive libvirtd and the next one knows
// them, and Close leaves nothing, whatever is frozen.
func TestDaemon(t *testing.T) {
	ctx, d := t.Context(), New(t)
	info, err := os.Stat(d.Socket())
	require.NoError(t, err)
	require.Equal(t, d.UID(), int(info.Sys().(*syscall.Stat_t).Uid))
	guest, err := d.Run(ctx, Guest{Namespace: "ns", Name: "vm", Program: Idle})
	require.NoError(t, err)
	require.NoError(t, guest.AwaitProgram(ctx, 1))
	xml, err := d.Virsh(ctx, "dumpxml", guest.Name())
	require.NoError(t, err)
	require.Contains(t, xml, "<name>ns_vm</name>")
	require.Contains(t, xml, `xmlns="http://kubevirt.io"`)
	require.NoFileExists(t, d.folder.mount()+"/passwd", "the private mounts must not be seen from here")
	qemu, err := guest.qemuPid()
	require.NoError(t, err)

	require.NoError(t, d.Kill())
	require.NoError(t, d.Kill(), "killing it again")
	_, err = net.Dial("unix", d.Socket())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.True(t, alive(qemu), "QEMU lives on")
	require.NoError(t, d.Restart(ctx))
	state, err := d.Virsh(ctx, "domstate", guest.Name())
	require.NoError(t, err)
	require.Equal(t, "running", state)

	require.NoError(t, guest.StopQEMU())
	require.NoError(t, d.Stop())
	conn, err := net.Dial("unix", d.Socket())
	require.NoError(t, err, "a frozen libvirtd takes connections")
	require.NoError(t, conn.Close())
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = d.Virsh(short, "list")
	require.Error(t, err, "and answers nothing")
	libvirtd := d.current().Pid()
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "closing it again")
	require.False(t, alive(qemu))
	require.False(t, alive(libvirtd))
	require.NoDirExists(t, string(d.folder))
}
