package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/commandline"
)

// parse returns the options that serve would get.
func parse(t *testing.T, uid int, args ...string) (parsed *options) {
	root := newCommand(uid, func(o *options, _ io.Writer) error { parsed = o; return nil })
	require.Zero(t, commandline.Run(t.Context(), root, args, io.Discard, io.Discard))
	return parsed
}

func TestFlags(t *testing.T) {
	for uid, uri := range map[int]string{0: "qemu:///system", 107: "qemu:///session"} {
		o := parse(t, uid)
		require.Equal(t, "/var/run/libvirt/virtqemud-sock", o.session.Socket)
		require.Equal(t, uri, o.session.URI)
		require.Equal(t, 5*time.Second, o.session.Timeout)
		require.Equal(t, 5*time.Minute, o.session.Resync)
		require.Equal(t, 30*time.Second, o.grace)
		require.Equal(t, []string{":9477"}, o.listenAddresses)
		require.False(t, o.bindToDevice)
	}
	o := parse(t, 107, "--listen-address=unix:///a", "--listen-address=127.0.0.1:1", "--libvirt-grace=2s", "--log-level=debug", "--log-format=logfmt")
	require.Equal(t, []string{"unix:///a", "127.0.0.1:1"}, o.listenAddresses)
	require.Equal(t, time.Second, o.session.Keepalive, "an idle connection is pinged within the grace period")
}

// TestFlagsOfOlderWebhooks: a sidecar that exits for its flags takes its VM out of its Services.
func TestFlagsOfOlderWebhooks(t *testing.T) {
	require.Equal(t, []string{"unix:///a"}, parse(t, 107, "--web.listen-address=unix:///a").listenAddresses)
	o := parse(t, 107, "--web.listen-address=[10.0.0.1]:9477", "--web.bind-to-device")
	require.Equal(t, []string{"[10.0.0.1]:9477"}, o.listenAddresses)
	require.True(t, o.bindToDevice)
}

// TestWrongFlags: exit code 64, which the supervisor does not restart, and one line that names the fault.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--no-such-flag"},
		{"--libvirt-timeout=soon"},
		{"--libvirt-timeout=0"},
		{"--libvirt-resync=-1s"},
		{"--libvirt-grace=999ms"},
		{"--log-level=loud"},
		{"--listen-address=9477"},
		{"--listen-address=unix://relative"},
		{"no-such-command"},
		{"show", "--no-such-flag"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var errOut bytes.Buffer
			require.Equal(t, commandline.ExitUsage, run(args, 107, nil, &errOut))
			require.Contains(t, errOut.String(), "error: ")
			require.Contains(t, errOut.String(), "see sidecar --help")
			require.Equal(t, 1, strings.Count(errOut.String(), "\n"))
		})
	}
}
