package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	o, err := parse([]string{"--authorization=none"}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, "/var/lib/kubelet/pods", o.podsDir)
	require.Equal(t, ":9478", o.listenAddress)
	require.Equal(t, 10*time.Second, o.timeout)
	require.EqualValues(t, 256<<10, o.maxResponseBytes)
}

func TestWrongFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "--authorization=delegated takes tokens"},
		{[]string{"--tls-cert-file=a"}, "go together"},
		{[]string{"--tls-cert-file=a", "--tls-private-key-file=b", "--web.config.file=c"}, "exclude each other"},
		{[]string{"--authorization=maybe"}, "delegated,none"},
		{[]string{"--authorization=none", "--timeout=0s"}, "--timeout must be more than 0"},
		{[]string{"--authorization=none", "--max-in-flight=0"}, "--max-in-flight must"},
		{[]string{"--authorization=none", "--max-in-flight-per-pod=-1"}, "--max-in-flight-per-pod must"},
		{[]string{"--authorization=none", "--max-response-bytes=0"}, "--max-response-bytes must"},
		{[]string{"--authorization=none", "--pod-uid=../kubelet"}, "--pod-uid: \"../kubelet\" is no pod uid"},
		{[]string{"--authorization=none", "--web.listen-address=9478"}, "want host:port"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, exitUsage, run(c.args, &stderr), "%v", c.args)
		require.Contains(t, stderr.String(), c.says)
	}
}

func TestGoodFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--tls-cert-file=a", "--tls-private-key-file=b"},
		{"--web.config.file=c"},
		{"--authorization=none", "--tls-cert-file=a", "--tls-private-key-file=b"},
	} {
		_, err := parse(args, &bytes.Buffer{})
		require.NoError(t, err, "%v", args)
	}
}
