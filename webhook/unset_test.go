package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServeRefusesTheUnsetImage(t *testing.T) {
	command := newServeCommand()
	command.SetArgs([]string{"--sidecar-image=" + unsetSidecarImage, "--tls-cert-file=a", "--tls-private-key-file=b"})
	command.SetErr(io.Discard)
	command.SetOut(io.Discard)
	require.ErrorContains(t, command.Execute(), "no image is set for the sidecar")
	require.NoError(t, refuseUnset("registry.example/images-not-set.see-docs-install.invalid/sidecar:v1"))
}
