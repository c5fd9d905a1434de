package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"
)

// The commands of docs/release.md for a key pair without a transparency log: what `make push` pushed and `make sign` signed
// is verified with the public key and with no other. cosign is built, which takes minutes.
func TestSign(t *testing.T) {
	if os.Getenv("KHE_SOAK") != "1" {
		t.Skip("builds cosign: make soak")
	}
	folder := t.TempDir()
	makefile, err := filepath.Abs("../Makefile")
	require.NoError(t, err)
	text, err := os.ReadFile(makefile)
	require.NoError(t, err)
	pinned := regexp.MustCompile(`(?m)^COSIGN := (\S+)$`).FindSubmatch(text)
	require.NotNil(t, pinned)
	run := func(dir, name string, args ...string) (string, error) {
		command := exec.Command(name, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "COSIGN_PASSWORD=a-password", "CGO_ENABLED=0")
		output, err := command.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, output)
		}
		return string(output), err
	}
	must := func(output string, err error) string {
		t.Helper()
		require.NoError(t, err)
		return output
	}
	program, another := filepath.Join(folder, "bin/release"), filepath.Join(folder, "another")
	must(run(".", "go", "build", "-o", program, "."))
	must(run(folder, "go", "run", string(pinned[1]), "generate-key-pair"))
	must(run(folder, "go", "run", string(pinned[1]), "signing-config", "create", "--out=signing-config.json"))
	require.NoError(t, os.Mkdir(another, 0o755))
	must(run(another, "go", "run", string(pinned[1]), "generate-key-pair"))

	r := ofRepository(t)
	r.registry, r.out, r.archive = startRegistry(t), filepath.Join(folder, "dist"), "image.oci.tar"
	require.NoError(t, os.Mkdir(r.out, 0o755))
	image, err := random.Image(100, 1)
	require.NoError(t, err)
	oci := t.TempDir()
	_, err = layout.Write(oci, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})}))
	require.NoError(t, err)
	must(run(oci, "tar", "-cf", filepath.Join(r.root, r.archive), "."))
	for _, write := range []func() error{r.writeImage, r.writeChart, r.writeChecksums, r.writeProvenance} {
		require.NoError(t, write())
	}
	makeTarget := func(args ...string) (string, error) {
		return run(folder, "make", append([]string{"--file=" + makefile, "--assume-old=bin/release"}, args...)...)
	}
	must(makeTarget("push", "ARGS=--plain-http"))
	pushed := strings.Fields(must(run(folder, program, "references")))
	require.Len(t, pushed, 2)
	verify := func(key, reference string) error {
		_, err := run(folder, "go", "run", string(pinned[1]), "verify", "--key="+key, "--insecure-ignore-tlog", "--allow-http-registry", reference)
		return err
	}
	require.ErrorContains(t, verify("cosign.pub", pushed[0]), "no signatures found")
	must(makeTarget("sign", "COSIGN_KEY=cosign.key", "ARGS=--signing-config=signing-config.json --allow-http-registry"))
	for _, reference := range pushed {
		require.NoError(t, verify("cosign.pub", reference))
		require.ErrorContains(t, verify("another/cosign.pub", reference), "failed to verify signature")
	}
}

// startRegistry runs Debian's registry until the test ends, and returns its address.
func startRegistry(t *testing.T) (address string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	require.NoError(t, err, "apt-get install docker-registry")
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	folder := t.TempDir()
	config := filepath.Join(folder, "config.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"{version: 0.1, log: {level: error}, storage: {filesystem: {rootdirectory: %q}}, http: {addr: %q}}\n", folder, address), 0o600))
	registry := exec.Command(program, "serve", config)
	require.NoError(t, registry.Start())
	t.Cleanup(func() { _ = registry.Process.Kill(); _ = registry.Wait() })
	require.Eventually(t, func() bool {
		answer, err := http.Get("http://" + address + "/v2/")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond)
	return address
}
