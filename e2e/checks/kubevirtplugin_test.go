package checks

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// With KubeVirt's gate Plugins on, KubeVirt accepts the Plugin that names our webhook. Every virt-launcher pod then has a
// volume for plugins, which our sidecar does not mount; the policies that come with the gate refuse neither pod nor Plugin.
func TestKubeVirtPlugin(t *testing.T) {
	f := connect(t)
	f.needs("1.36") // KubeVirt 1.6, which runs on an older Kubernetes, has no Plugin
	plugin := f.productObjects("manifests/kubevirt-plugin/plugin.yaml")
	require.ErrorContains(t, f.Apply(f.ctx, plugin...), "Plugins feature gate is not enabled")

	f.t.Cleanup(f.gatePlugins())
	f.t.Cleanup(func() { f.must(f.Client.Delete(f.ctx, plugin...)) })
	f.eventually("virt-api to know the gate", func() error { return f.Apply(f.ctx, plugin...) })
	v := vm{namespace: labelled, name: "plugin"}
	f.start(v)
	require.True(t, hasPluginVolume(f.pod(v)))
	for _, mount := range f.sidecarOf(v).VolumeMounts {
		require.NotEqual(t, pluginVolume, mount.Name)
	}
	f.requireMeasured(v, "kvm")
}

// pluginVolume is in virt-launcher pods, and subPathPolicy in the cluster, with the gate Plugins (KubeVirt:
// virt-controller/services/template.go, validatingadmissionpolicy_sidecar.go).
const (
	pluginVolume  = "kubevirt-plugin-sockets"
	subPathPolicy = "kubevirt-plugin-sidecar-subpath-policy"
)

func hasPluginVolume(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool { return volume.Name == pluginVolume })
}

// gatePlugins turns the gate on, and returns what turns it off.
func (f *framework) gatePlugins() (off func()) {
	kubevirt, err := f.Get(f.ctx, cluster.KubeVirtKind, "kubevirt", "kubevirt")
	f.must(err)
	before, _, err := unstructured.NestedStringSlice(kubevirt.Object, "spec", "configuration", "developerConfiguration", "featureGates")
	f.must(err)
	set := func(gates []string, on bool) {
		text, err := json.Marshal(gates)
		f.must(err)
		f.patchKubeVirt(`{"developerConfiguration":{"featureGates":%s}}`, text)
		f.awaitNewPods(vm{namespace: plain, name: "gate-plugins"}, "KubeVirt to know the gate", func(pod *corev1.Pod) bool {
			return hasPluginVolume(pod) == on
		})
	}
	set(append(slices.Clone(before), "Plugins"), true)
	f.eventually("KubeVirt's policy for sidecars", func() error {
		_, err := f.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(f.ctx, subPathPolicy, metav1.GetOptions{})
		return err
	})
	return func() { set(before, false) }
}
