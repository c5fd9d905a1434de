package clustertest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const installPage = "../../docs/install.md"

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// documented are the kustomizations of docs/install.md, in order, and what each must bring about.
var documented = []struct {
	name    string
	require func(t *testing.T, objects []*unstructured.Unstructured)
}{
	{"images", func(t *testing.T, objects []*unstructured.Unstructured) {
		requireInjected(t, ".", objects, "registry.example/exporter/sidecar:v0.1.0")
		for _, object := range objects {
			if isWorkload(object) {
				text, err := yaml.Marshal(object.Object)
				require.NoError(t, err)
				require.NotContains(t, string(text), unsetImages)
			}
		}
	}},
	{"labels for Prometheus", func(t *testing.T, objects []*unstructured.Unstructured) {
		found := 0
		for _, object := range objects {
			if object.GetKind() == "PodMonitor" || object.GetKind() == "PrometheusRule" {
				require.Equal(t, "kube-prometheus-stack", object.GetLabels()["release"])
				found++
			}
		}
		require.Positive(t, found)
	}},
	{"kubelet's folder", func(t *testing.T, objects []*unstructured.Unstructured) {
		const folder = "/var/lib/k0s/kubelet/pods"
		pod := daemonSet(t, find(t, objects, "DaemonSet", relayName)).Spec.Template.Spec
		require.Equal(t, folder, pod.Volumes[0].HostPath.Path)
		require.Equal(t, folder, pod.Containers[0].VolumeMounts[0].MountPath)
		require.Equal(t, "--kubelet-pods-dir="+folder, pod.Containers[0].Args[0])
	}},
	{"nodes left out", func(t *testing.T, objects []*unstructured.Unstructured) {
		relay := find(t, objects, "DaemonSet", relayName)
		require.True(t, fits(t, relay, nodes["amd64"].labels))
		require.False(t, fits(t, relay, map[string]string{"kubernetes.io/arch": "amd64", "node-role.kubernetes.io/control-plane": ""}))
		require.False(t, fits(t, relay, nodes["Fargate"].labels), "as before")
	}},
	{"priority", func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, name := range []string{serviceName, certsName} {
			class, _, _ := unstructured.NestedString(podOf(t, find(t, objects, "Deployment", name)).Object, "spec", "priorityClassName")
			require.Equal(t, "my-class", class)
		}
	}},
	{"pull secrets", func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, object := range objects {
			if isWorkload(object) {
				secrets, _, _ := unstructured.NestedSlice(podOf(t, object).Object, "spec", "imagePullSecrets")
				require.Equal(t, []any{map[string]any{"name": "registry"}}, secrets, object.GetName())
			}
		}
	}},
	{"required pull secrets", func(t *testing.T, objects []*unstructured.Unstructured) {
		spec := podOf(t, find(t, objects, "Deployment", serviceName)).Object["spec"].(map[string]any)
		require.Contains(t, spec["containers"].([]any)[0].(map[string]any)["args"], "--sidecar-image-pull-secrets=registry")
	}},
	{"NetworkPolicies", func(t *testing.T, objects []*unstructured.Unstructured) {
		for name, rule := range map[string]int{relayName: 0, serviceName: 2} {
			rules, _, err := unstructured.NestedSlice(find(t, objects, "NetworkPolicy", name).Object, "spec", "ingress")
			require.NoError(t, err)
			require.Len(t, rules[rule].(map[string]any)["from"], 1, name)
		}
	}},
}

const relayName = "hypervisor-exporter-relay"

// Each kustomization that docs/install.md shows can be built as it stands there, does what the page says, and leaves the
// injected image the one that is pulled. Those without resources are for a folder around the manifests.
func TestDocumentedKustomizations(t *testing.T) {
	blocks := yamlBlock.FindAllStringSubmatch(readFile(t, installPage), -1)
	require.Len(t, blocks, len(documented), "each has its test")
	for i, block := range blocks {
		t.Run(documented[i].name, func(t *testing.T) {
			text := strings.ReplaceAll(block[1], "../manifests", "MANIFESTS")
			text = strings.TrimPrefix(text, "resources: [MANIFESTS]\n")
			documented[i].require(t, around(t, ".", text))
		})
	}
}
