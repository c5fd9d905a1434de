package libvirttest

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDaemonRestart: guests outlive libvirtd, and the next one knows them.
func TestDaemonRestart(t *testing.T) {
	ctx, d := testContext(t), New(t)
	guest, err := d.Run(ctx, Guest{Namespace: "ns", Name: "stays", Program: Idle})
	require.NoError(t, err)
	require.NoError(t, guest.AwaitProgram(ctx, 1))
	before, err := guest.QEMUPid()
	require.NoError(t, err)

	require.NoError(t, d.Kill())
	require.NoError(t, d.Kill(), "killing it again")
	_, err = net.Dial("unix", d.Socket())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.True(t, alive(before), "QEMU lives on")

	killed := d.Pid()
	require.NoError(t, d.Restart(ctx))
	require.NotEqual(t, killed, d.Pid())
	v := watch(t, d, guest.Name())
	v.shows(t, "libvirtd restarted", sight{"", "running(booted)"})
	after, err := guest.QEMUPid()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestDaemonStop: a frozen libvirtd takes connections and answers nothing.
func TestDaemonStop(t *testing.T) {
	ctx, d := testContext(t), New(t)
	require.NoError(t, d.Stop())
	conn, err := net.Dial("unix", d.Socket())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = d.Virsh(short, "list")
	require.Error(t, err)
	require.ErrorIs(t, short.Err(), context.DeadlineExceeded)
	require.NoError(t, d.Cont())
	_, err = d.Virsh(ctx, "list")
	require.NoError(t, err)
}

// TestClose: nothing is left, whatever was stopped.
func TestClose(t *testing.T) {
	ctx := testContext(t)
	d, err := Start(ctx, Options{})
	require.NoError(t, err)
	guest, err := d.Create(ctx, Guest{Namespace: "ns", Name: "frozen"})
	require.NoError(t, err)
	qemu, err := guest.QEMUPid()
	require.NoError(t, err)
	require.NoError(t, guest.StopQEMU())
	require.NoError(t, d.Stop())
	libvirtd := d.Pid()

	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "closing it again")
	require.False(t, alive(qemu))
	require.False(t, alive(libvirtd))
	require.NoDirExists(t, d.Folder())
}

// TestSession: it is what a virt-launcher pod has, and the machine is as before.
func TestSession(t *testing.T) {
	ctx, d := testContext(t), New(t)
	info, err := os.Stat(d.Socket())
	require.NoError(t, err)
	require.Equal(t, d.UID(), int(info.Sys().(*syscall.Stat_t).Uid))
	uri, err := d.Virsh(ctx, "uri")
	require.NoError(t, err)
	require.Contains(t, uri, "/session")

	guest, err := d.Define(ctx, Guest{Namespace: "ns", Name: "vm"})
	require.NoError(t, err)
	xml, err := guest.XML(ctx)
	require.NoError(t, err)
	require.Contains(t, xml, "<name>ns_vm</name>")
	require.Contains(t, xml, `xmlns="http://kubevirt.io"`)
	_, err = os.Stat(d.Folder() + "/mnt/passwd")
	require.True(t, errors.Is(err, os.ErrNotExist), "the private mounts must not be seen from here")
}
