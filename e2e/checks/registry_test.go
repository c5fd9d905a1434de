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

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

// registryName is what images of the registry are called; the node is told where it is.
const registryName = "registry.e2e.local"

// registry serves an image like one that the node has, under another name, and takes it from no other place, until the test ends
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
	address := listener.Addr().String()
	w.tellNode(t, registryName, address)
	_, err = w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "push", "--plain-http", "--platform", "linux/amd64", address+"/taken:as-it-is", image)
	require.NoError(t, err)
	another(t, address+"/taken:as-it-is", address+"/"+as)
	return end
}

// tellNode tells the node at what address the images of a registry are.
func (w *world) tellNode(t *testing.T, registry, address string) {
	t.Helper()
	hosts := filepath.Join(w.node.Registries(), registry)
	require.NoError(t, os.MkdirAll(hosts, 0o755))
	text := fmt.Appendf(nil, "[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", "http://"+address)
	require.NoError(t, os.WriteFile(filepath.Join(hosts, "hosts.toml"), text, 0o644))
}

// another puts an image of another digest, the same but for a label, beside one, and returns the digest. A kubelet that
// has pulled an image once wants every other name of the same digest pulled, too, before it lets a pod have it (KEP-2535).
func another(t *testing.T, from, to string, options ...remote.Option) (digest string) {
	t.Helper()
	source, err := name.ParseReference(from, name.Insecure)
	require.NoError(t, err)
	target, err := name.ParseReference(to, name.Insecure)
	require.NoError(t, err)
	image, err := remote.Image(source, options...)
	require.NoError(t, err)
	file, err := image.ConfigFile()
	require.NoError(t, err)
	config := *file.Config.DeepCopy()
	config.Labels = map[string]string{"e2e": target.Identifier()}
	image, err = mutate.Config(image, config)
	require.NoError(t, err)
	require.NoError(t, remote.Write(target, image, options...))
	hash, err := image.Digest()
	require.NoError(t, err)
	return hash.String()
}
