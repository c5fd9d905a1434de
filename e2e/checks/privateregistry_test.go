package checks

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// As docs/install.md has it.
const (
	pullSecretsPatch     = `{target: {kind: Deployment|DaemonSet}, patch: '[{"op": "add", "path": "/spec/template/spec/imagePullSecrets", "value": [{"name": "registry"}]}]'}`
	requiredSecretsPatch = `{target: {kind: Deployment, name: hypervisor-exporter-webhook}, patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--sidecar-image-pull-secrets=registry"}]'}`
)

// alwaysPull does to our container what the admission plugin AlwaysPullImages does to all. KubeVirt's own images are in
// no registry here, and cannot be pulled.
const alwaysPull = `
          JSONPatch{op: "add", path: "/spec/initContainers/" + string(variables.names.indexOf('hypervisor-exporter')) + "/imagePullPolicy",
            value: "Always"}`

// The image by digest from a registry that asks for a password: our pods pull it with their Secret, a VM whose pod names
// the Secret too gets a sidecar, also where it is pulled each time, and one whose pod does not is left alone. Without
// --sidecar-image-pull-secrets the latter gets a sidecar that its kubelet refuses, though the node has the image: that is
// the trap.
func TestRegistryWithPassword(t *testing.T) {
	f := connect(t)
	registry, _ := f.startRegistry(privateName, "puller", "not-a-secret")
	_, image := registry.push(f.restoreProduct())
	const named, always, unnamed = "secret-named", "secret-always", "secret-unnamed"
	for _, namespace := range []string{named, always, unnamed} {
		f.namespace(namespace)
	}
	for _, namespace := range []string{cluster.Product, cluster.Relay, named, always} {
		registry.imposeSecret(namespace)
	}
	for _, namespace := range []string{named, always} {
		f.impose("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: %s}, imagePullSecrets: [{name: %s}]}", namespace, pullSecret)
	}
	f.install(image, pullSecretsPatch, requiredSecretsPatch)

	with := []vm{{namespace: named, name: "with-secret"}}
	if f.atLeast("1.36") {
		pulled := vm{namespace: always, name: "pulled-each-time"}
		f.impose(changedPods, always, alwaysPull)
		f.awaitNewPods(pulled, "the API server to apply the policy", func(pod *corev1.Pod) bool {
			return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.ImagePullPolicy == corev1.PullAlways })
		})
		with = append(with, pulled)
	}
	without := vm{namespace: unnamed, name: "without-secret"}
	const leftAlone = `sum(hypervisor_exporter_webhook_admissions_total{reason="no_pull_secret"})`
	before := f.number(leftAlone)
	f.start(append(with, without)...)
	for _, v := range with {
		require.Equal(t, image, f.sidecarOf(v).Image)
		f.requireMeasured(v, "kvm")
	}
	require.False(t, hasSidecar(f.pod(without)))
	f.awaitSeries("%s > %f", leftAlone, before)

	f.install(image, pullSecretsPatch)
	trapped := vm{namespace: unnamed, name: "trapped"}
	f.create(trapped)
	if !f.atLeast("1.35") {
		f.awaitRunning(trapped)
		return
	}
	f.eventually("the kubelet to refuse the image (KEP-2535)", func() error {
		state := f.sidecarState(trapped)
		if waiting := state.State.Waiting; waiting == nil || !slices.Contains([]string{"ErrImagePull", "ImagePullBackOff"}, waiting.Reason) {
			return errors.New(cluster.ContainerState(state))
		}
		t.Logf("the VM waits: %s", cluster.ContainerState(state))
		return nil
	})
	f.must(f.isIn(trapped, "Scheduling"))
	f.start(vm{namespace: named, name: "with-secret-again"})
}
