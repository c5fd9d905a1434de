package checks

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
)

// registryName is what images of the registry are called; the node is told where it is.
const registryName = "registry.e2e.local"

// registry serves an image that the node has under another name, and takes it from no other place, until the test ends
// or close is called.
func (w *world) registry(t *testing.T, image, as string) (end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", w.node.Outside()+":0")
	require.NoError(t, err)
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	stopped := make(chan error)
	go func() { stopped <- server.Serve(listener) }()
	var ended bool
	end = func() {
		if !ended {
			ended = true
			require.NoError(t, server.Close())
			require.ErrorIs(t, <-stopped, http.ErrServerClosed)
		}
	}
	t.Cleanup(end)
	hosts := filepath.Join(w.node.Registries(), registryName)
	require.NoError(t, os.MkdirAll(hosts, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(hosts, "hosts.toml"), fmt.Appendf(nil, "[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", "http://"+listener.Addr().String()), 0o644))
	_, err = w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "push", "--plain-http", "--platform", "linux/amd64",
		listener.Addr().String()+"/"+as, "docker.io/"+image)
	require.NoError(t, err)
	return end
}
