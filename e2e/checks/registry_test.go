package checks

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// What images of the registries are called; the node is configured with their addresses.
const (
	registryName = "registry.e2e.local"
	privateName  = "private.e2e.local" // with a password
	pullSecret   = "registry"
)

// imageRegistry is a registry on this machine, with one user where it has a password.
type imageRegistry struct {
	f                             *framework
	name, address, user, password string
}

// startRegistry runs a registry without a password, until the check ends or close is called.
func (f *framework) startRegistry() (r *imageRegistry, end func()) {
	listener, err := net.Listen("tcp", f.node.Outside()+":0")
	f.must(err)
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	stopped := make(chan error)
	go func() { stopped <- server.Serve(listener) }()
	end = sync.OnceFunc(func() {
		f.must(server.Close())
		require.ErrorIs(f.t, <-stopped, http.ErrServerClosed)
	})
	f.t.Cleanup(end)
	r = &imageRegistry{f: f, name: registryName, address: listener.Addr().String()}
	r.configureNode()
	return r, end
}

// startPrivateRegistry runs Debian's registry with a password, until the check ends.
func (f *framework) startPrivateRegistry() *imageRegistry {
	program, err := exec.LookPath("docker-registry")
	f.must(err, "apt-get install docker-registry")
	listener, err := net.Listen("tcp", f.node.Outside()+":0") // a port that is free
	f.must(err)
	r := &imageRegistry{f: f, name: privateName, address: listener.Addr().String(), user: "puller", password: "not-a-secret"}
	f.must(listener.Close())
	dir := f.t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(r.password), bcrypt.MinCost)
	f.must(err)
	f.must(os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", r.user, hash), 0o600))
	config := filepath.Join(dir, "config.yml")
	f.must(os.WriteFile(config, fmt.Appendf(nil, `
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %[1]s/images}}
http: {addr: "%[2]s"}
auth: {htpasswd: {realm: e2e, path: %[1]s/htpasswd}}
`, dir, r.address), 0o600))
	command := exec.CommandContext(context.Background(), program, "serve", config)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f.must(command.Start())
	f.t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	f.eventually("the registry to ask for a password", func() error {
		answer, err := http.Get("http://" + r.address + "/v2/")
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("status %s", answer.Status)
		}
		return nil
	})
	r.configureNode()
	return r
}

// configureNode writes into the node's configuration at what address the registry is.
func (r *imageRegistry) configureNode() {
	hosts := filepath.Join(r.f.node.Registries(), r.name)
	r.f.must(os.MkdirAll(hosts, 0o755))
	text := fmt.Appendf(nil, "[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", "http://"+r.address)
	r.f.must(os.WriteFile(filepath.Join(hosts, "hosts.toml"), text, 0o644))
}

// push puts an image like one that the node has into the registry, and returns its name there by tag and by digest. It
// differs from the node's in a label: a kubelet that has pulled an image once wants every other name of the same digest
// pulled, too, before it lets a pod have it (KEP-2535).
func (r *imageRegistry) push(image string) (byTag, byDigest string) {
	repository := "/" + strings.Split(filepath.Base(image), ":")[0]
	from, to := r.address+repository+":as-it-is", r.address+repository+":e2e"
	command := []string{"ctr", "-n", "k8s.io", "images", "push", "--plain-http", "--platform", "linux/amd64"}
	var options []remote.Option
	if r.user != "" {
		command = append(command, "--user", r.user+":"+r.password)
		options = append(options, remote.WithAuth(&authn.Basic{Username: r.user, Password: r.password}))
	}
	r.f.run(append(command, from, image)...)
	source, err := name.ParseReference(from, name.Insecure)
	r.f.must(err)
	target, err := name.ParseReference(to, name.Insecure)
	r.f.must(err)
	changed, err := remote.Image(source, options...)
	r.f.must(err)
	file, err := changed.ConfigFile()
	r.f.must(err)
	config := *file.Config.DeepCopy()
	config.Labels = map[string]string{"e2e": r.name}
	changed, err = mutate.Config(changed, config)
	r.f.must(err)
	r.f.must(remote.Write(target, changed, options...))
	digest, err := changed.Digest()
	r.f.must(err)
	return r.name + repository + ":e2e", r.name + repository + "@" + digest.String()
}

// imposeSecret creates the pull secret in a namespace, until the check ends.
func (r *imageRegistry) imposeSecret(namespace string) {
	auth := base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password))
	r.f.impose(`{apiVersion: v1, kind: Secret, type: kubernetes.io/dockerconfigjson, metadata: {name: %s, namespace: %s},
		stringData: {.dockerconfigjson: '{"auths": {%q: {"auth": %q}}}'}}`, pullSecret, namespace, r.name, auth)
}
