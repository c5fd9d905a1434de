package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseDefaults(t *testing.T) {
	for uid, uri := range map[int]string{0: "qemu:///system", 107: "qemu:///session"} {
		o, err := parse(nil, uid, nil)
		require.NoError(t, err)
		require.Equal(t, commandServe, o.command)
		require.Equal(t, "/var/run/libvirt/virtqemud-sock", o.session.Socket)
		require.Equal(t, uri, o.session.URI)
		require.Equal(t, 5*time.Second, o.session.Timeout)
		require.Equal(t, 5*time.Minute, o.session.Resync)
		require.Equal(t, 30*time.Second, o.grace)
		require.Equal(t, []string{":9477"}, o.listenAddresses)
		require.Equal(t, "/metrics", o.telemetryPath)
		require.False(t, o.runtimeMetrics)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{
		"--web.listen-address=unix:///a", "--web.listen-address=127.0.0.1:1", "--libvirt.grace=2s", "--web.runtime-metrics",
		"--log.level=debug", "--log.format=json",
	}, 107, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"unix:///a", "127.0.0.1:1"}, o.listenAddresses)
	require.Equal(t, 2*time.Second, o.grace)
	require.Equal(t, time.Second, o.session.Keepalive, "an idle connection is heard of within the grace period")
	require.True(t, o.runtimeMetrics)

	o, err = parse([]string{"healthcheck", "--web.listen-address=unix:///a"}, 107, nil)
	require.NoError(t, err)
	require.Equal(t, commandHealthcheck, o.command)

	o, err = parse([]string{"show", "--web.listen-address=:1"}, 107, nil)
	require.NoError(t, err)
	require.Equal(t, commandShow, o.command)
	require.True(t, o.listenGiven)
}

// TestWrongFlags: exit 64, one line that says what is wrong, and the usage.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--no-such-flag"},
		{"--libvirt.timeout=soon"},
		{"--libvirt.timeout=0s"},
		{"--libvirt.resync=-1s"},
		{"--libvirt.grace=-1s"},
		{"--log.level=loud"},
		{"--web.listen-address=9477"},
		{"--web.listen-address=unix://relative"},
		{"--web.telemetry-path=metrics"},
		{"--web.telemetry-path=/"},
		{"--web.telemetry-path=/healthz"},
		{"--web.telemetry-path=/{x}"},
		{"no-such-command"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var stderr bytes.Buffer
			require.Equal(t, exitUsage, run(args, nil, &stderr))
			first, rest, _ := strings.Cut(stderr.String(), "\n")
			require.Contains(t, first, "sidecar: error: ")
			require.Contains(t, rest, "usage: sidecar")
		})
	}
}
