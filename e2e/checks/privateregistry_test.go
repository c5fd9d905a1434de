package checks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const (
	privateName = "private.e2e.local" // what images of the registry with a password are called
	pullSecret  = "registry"
)

// As docs/install.md has it.
const (
	pullSecretsPatch     = `{target: {kind: Deployment|DaemonSet}, patch: '[{"op": "add", "path": "/spec/template/spec/imagePullSecrets", "value": [{"name": "registry"}]}]'}`
	requiredSecretsPatch = `{target: {kind: Deployment, name: hypervisor-exporter-webhook}, patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--sidecar-image-pull-secrets=registry"}]'}`
)

// Images by digest from a registry that asks for a password: our pods pull them with their Secret, a VM whose pod names
// the Secret too gets a sidecar, and one whose pod does not is left alone. Without --sidecar-image-pull-secrets the
// latter gets a sidecar that its kubelet refuses, though the node has the image: that is the trap.
func TestRegistryWithPassword(t *testing.T) {
	w := connect(t)
	registry := w.startPrivateRegistry(t)
	local := w.productImages(t)
	images := cluster.ProductImages{Webhook: registry.push(t, local.Webhook), Sidecar: registry.push(t, local.Sidecar), Relay: registry.push(t, local.Relay)}
	for _, namespace := range []string{cluster.Product, cluster.Relay} {
		w.impose(t, namespace, registry.secret(namespace))
	}
	standard, err := cluster.ProductObjects(product(t), cluster.Default, local)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.InstallProduct(context.Background(), standard)) })
	w.installWith(t, images, pullSecretsPatch, requiredSecretsPatch)

	const named, always, unnamed = "secret-named", "secret-always", "secret-unnamed"
	for _, namespace := range []string{named, always, unnamed} {
		require.NoError(t, w.Namespace(t.Context(), namespace, map[string]string{inject: "enabled"}))
	}
	for _, namespace := range []string{named, always} {
		w.impose(t, namespace, registry.secret(namespace))
		w.impose(t, namespace, fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: %s}, imagePullSecrets: [{name: %s}]}", namespace, pullSecret))
	}
	with, without := vm{namespace: named, name: "with-secret"}, vm{namespace: unnamed, name: "without-secret"}
	before := w.leftAlone(t, "no_pull_secret")
	w.create(t, without)
	w.start(t, with)
	require.Equal(t, images.Sidecar, sidecarOf(t, w.pod(t, with)).Image)
	w.awaitTarget(t, with, "up")
	w.awaitRunning(t, without)
	require.False(t, hasSidecar(w.pod(t, without)))
	w.awaitLeftAlone(t, "no_pull_secret", before)

	w.timePulls(t, named, always)

	w.installWith(t, images, pullSecretsPatch)
	trapped := vm{namespace: unnamed, name: "trapped"}
	w.create(t, trapped)
	if w.atLeast(t, "1.35") {
		w.requireTrapped(t, trapped)
	} else {
		w.awaitRunning(t, trapped)
	}
	w.start(t, vm{namespace: named, name: "with-secret-again"})
}

func (w *world) installWith(t *testing.T, images cluster.ProductImages, patches ...string) {
	t.Helper()
	objects, err := cluster.ProductObjects(product(t), cluster.Default, images, patches...)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, w.InstallProduct(t.Context(), objects))
	t.Logf("installed in %.1f s", time.Since(began).Seconds())
}

// requireTrapped fails unless the VM waits for an image that its node has and its pod may not use (KEP-2535).
func (w *world) requireTrapped(t *testing.T, v vm) {
	t.Helper()
	eventually(t, time.Minute, "the kubelet to refuse the image", func(ctx context.Context) error {
		pod, err := w.findPod(ctx, v)
		if err != nil {
			return err
		}
		waiting := sidecarStatus(pod).State.Waiting
		if waiting == nil || !slices.Contains([]string{"ErrImagePull", "ImagePullBackOff"}, waiting.Reason) {
			return errors.New(cluster.ContainerState(sidecarStatus(pod)))
		}
		t.Logf("the VM waits: %s", cluster.ContainerState(sidecarStatus(pod)))
		return nil
	})
	require.NoError(t, w.isIn(t.Context(), v, "Scheduling"))
}

// alwaysPull does to our container what the admission plugin AlwaysPullImages does to all. KubeVirt's own images are in
// no registry here, and cannot be pulled. %[1]s is the namespace.
const alwaysPull = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: always-pull}
spec:
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  variables:
  - name: names
    expression: "object.spec.?initContainers.orValue([]).map(c, c.name)"
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        'hypervisor-exporter' in variables.names ? [JSONPatch{op: "add", path: "/spec/initContainers/" +
        string(variables.names.indexOf('hypervisor-exporter')) + "/imagePullPolicy", value: "Always"}] : []
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: always-pull}
spec:
  policyName: always-pull
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

// timePulls says what it costs a VM's start that the sidecar's image is asked for at the registry each time, as in the
// second namespace.
func (w *world) timePulls(t *testing.T, once, always string) {
	t.Helper()
	if !w.atLeast(t, "1.36") {
		return
	}
	w.impose(t, always, fmt.Sprintf(alwaysPull, always))
	for i := 0; ; i++ {
		probe := vm{namespace: always, name: fmt.Sprintf("probe-%d", i), nowhere: true}
		w.create(t, probe)
		now := sidecarOf(t, w.pod(t, probe)).ImagePullPolicy
		w.removeNow(t, probe)
		if now == corev1.PullAlways {
			break
		}
		require.Less(t, i, 30, "the API server goes by no policy")
	}
	times := map[string][]time.Duration{}
	for i := range 4 {
		for _, namespace := range []string{once, always} {
			v := vm{namespace: namespace, name: fmt.Sprintf("pull-%d", i)}
			times[namespace] = append(times[namespace], w.timeStart(t, v))
			w.removeNow(t, v)
		}
	}
	t.Logf("median start of 4: %.2f s with the image that the node has, %.2f s where the registry is asked each time (%v)",
		median(times[once]).Seconds(), median(times[always]).Seconds(), times)
}

// privateRegistry is Debian's docker-registry with one user.
type privateRegistry struct {
	w                       *world
	address, user, password string
}

// startPrivateRegistry runs the registry on the machine until the test ends; the node knows where it is.
func (w *world) startPrivateRegistry(t *testing.T) *privateRegistry {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	require.NoError(t, err, "apt-get install docker-registry")
	listener, err := net.Listen("tcp", w.node.Outside()+":0") // a port that is free
	require.NoError(t, err)
	r := &privateRegistry{w: w, address: listener.Addr().String(), user: "puller", password: "not-a-secret"}
	require.NoError(t, listener.Close())
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(r.password), bcrypt.MinCost)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", r.user, hash), 0o600))
	config := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %[1]s/images}}
http: {addr: "%[2]s"}
auth: {htpasswd: {realm: e2e, path: %[1]s/htpasswd}}
`, dir, r.address), 0o600))
	command := exec.Command(program, "serve", config)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	eventually(t, time.Minute, "the registry to ask for a password", func(context.Context) error {
		answer, err := http.Get("http://" + r.address + "/v2/")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusUnauthorized {
				err = errors.New(answer.Status)
			}
		}
		return err
	})
	w.tellNode(t, privateName, r.address)
	return r
}

// push puts an image like one that the node has into the registry and returns what it is called there, by digest.
func (r *privateRegistry) push(t *testing.T, image string) string {
	t.Helper()
	repository := "/" + strings.Split(filepath.Base(image), ":")[0]
	_, err := r.w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "push", "--plain-http", "--user", r.user+":"+r.password,
		"--platform", "linux/amd64", r.address+repository+":as-it-is", image)
	require.NoError(t, err)
	digest := another(t, r.address+repository+":as-it-is", r.address+repository+":private",
		remote.WithAuth(&authn.Basic{Username: r.user, Password: r.password}))
	return privateName + repository + "@" + digest
}

// secret is the pull secret of a namespace.
func (r *privateRegistry) secret(namespace string) string {
	auth := base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password))
	return fmt.Sprintf("{apiVersion: v1, kind: Secret, type: kubernetes.io/dockerconfigjson, metadata: {name: %s, namespace: %s}, stringData: {.dockerconfigjson: '{\"auths\": {%q: {\"auth\": %q}}}'}}",
		pullSecret, namespace, privateName, auth)
}
