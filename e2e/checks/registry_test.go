package checks

import (
	"context"
	"encoding/base64"
	"fmt"
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
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"
)

// What images of the registries are called; the node is configured with their addresses.
const (
	registryName = "registry.e2e.local"
	privateName  = "private.e2e.local" // with a password
	pullSecret   = "registry"
)

// imageRegistry is a registry on this machine; without a name, images are called by its address.
type imageRegistry struct {
	f                             *framework
	name, address, user, password string
}

// startRegistry runs Debian's registry, until the check ends or end is called; with a user, it asks for a password.
func (f *framework) startRegistry(name, user, password string) (r *imageRegistry, end func()) {
	program, err := exec.LookPath("docker-registry")
	f.must(err, "apt-get install docker-registry")
	listener, err := net.Listen("tcp", f.node.Outside()+":0") // a port that is free
	f.must(err)
	r = &imageRegistry{f: f, name: name, address: listener.Addr().String(), user: user, password: password}
	if name == "" {
		r.name = r.address
	}
	f.must(listener.Close())
	command := exec.CommandContext(context.Background(), program, "serve", r.config())
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f.must(command.Start())
	end = sync.OnceFunc(func() { _ = command.Process.Kill(); _ = command.Wait() })
	f.t.Cleanup(end)
	want := http.StatusOK
	if user != "" {
		want = http.StatusUnauthorized
	}
	f.eventually("the registry to answer", func() error {
		answer, err := http.Get("http://" + r.address + "/v2/")
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			return fmt.Errorf("status %s", answer.Status)
		}
		return nil
	})
	r.configureNode()
	return r, end
}

// config writes the registry's configuration and returns its path.
func (r *imageRegistry) config() string {
	dir := r.f.t.TempDir()
	auth := ""
	if r.user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(r.password), bcrypt.MinCost)
		r.f.must(err)
		r.f.must(os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", r.user, hash), 0o600))
		auth = fmt.Sprintf("auth: {htpasswd: {realm: e2e, path: %s/htpasswd}}\n", dir)
	}
	path := filepath.Join(dir, "config.yml")
	r.f.must(os.WriteFile(path, fmt.Appendf(nil, `
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %s/images}}
http: {addr: "%s"}
%s`, dir, r.address, auth), 0o600))
	return path
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
