package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/commandline"
)

func TestWrongFlags(t *testing.T) {
	const plain = "--authorization=none"
	for _, c := range []struct {
		args    []string
		message string
	}{
		{nil, "--authorization=delegated takes tokens"},
		{[]string{"--tls-cert-file=a"}, "go together"},
		{[]string{plain, "--tls-private-key-file=a"}, "go together"},
		{[]string{"--authorization=maybe"}, `must be delegated or none, not "maybe"`},
		{[]string{plain, "--pod-uid=../kubelet"}, `--pod-uid: "../kubelet" is not a pod uid`},
		{[]string{plain, "--listen-address=9478"}, "must be host:port"},
		{[]string{plain, "argument"}, "argument"},
	} {
		var errOut bytes.Buffer
		require.Equal(t, commandline.ExitUsage, run(t.Context(), c.args, &errOut, &errOut), "%v", c.args)
		require.Contains(t, errOut.String(), c.message)
	}
}

func TestGoodFlags(t *testing.T) {
	for _, o := range []options{
		{authorization: delegated, listenAddress: ":9478", certFile: "a", keyFile: "b"},
		{authorization: none, listenAddress: "[::1]:9478", certFile: "a", keyFile: "b"},
		{authorization: none, listenAddress: "127.0.0.1:9478", podUID: "de0d9c32-29da-4e4a-97da-26f918ca12d6"},
	} {
		require.NoError(t, o.check())
	}
}
