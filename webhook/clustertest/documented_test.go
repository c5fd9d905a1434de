package clustertest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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
		requireInjected(t, ".", objects, "registry.example/kubevirt-hypervisor-exporter:v0.1.0")
		for _, object := range workloads(objects) {
			text, err := yaml.Marshal(object.Object)
			require.NoError(t, err)
			require.NotContains(t, string(text), unsetImage)
		}
	}},
	{"components", func(t *testing.T, objects []*unstructured.Unstructured) {
		require.ElementsMatch(t, render(t, "+cert-manager+host-network"), objects)
	}},
	{"namespaces", func(t *testing.T, objects []*unstructured.Unstructured) {
		found := 0
		for _, object := range objects {
			require.Contains(t, []string{"", "observability", "observability-relay"}, object.GetNamespace(), object.GetName())
			if object.GetKind() == "Namespace" {
				require.Contains(t, []string{"observability", "observability-relay"}, object.GetName())
				found++
			}
		}
		require.Equal(t, 2, found)
	}},
	{"labels", func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, object := range objects {
			require.Equal(t, "virtualization", object.GetLabels()["team"], object.GetName())
			if isWorkload(object) {
				require.Equal(t, "virtualization", podOf(t, object).GetLabels()["team"], object.GetName())
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
		pod := decode[appsv1.DaemonSet](t, find(t, objects, "DaemonSet", relayName)).Spec.Template.Spec
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
			pod := decode[corev1.Pod](t, podOf(t, find(t, objects, "Deployment", name)))
			require.Equal(t, "my-class", pod.Spec.PriorityClassName)
		}
	}},
	{"pull secrets", func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, object := range workloads(objects) {
			secrets := decode[corev1.Pod](t, podOf(t, object)).Spec.ImagePullSecrets
			require.Equal(t, []corev1.LocalObjectReference{{Name: "registry"}}, secrets, object.GetName())
		}
	}},
	{"required pull secrets", func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := decode[corev1.Pod](t, podOf(t, find(t, objects, "Deployment", serviceName)))
		require.Contains(t, pod.Spec.Containers[0].Args, "--sidecar-image-pull-secrets=registry")
	}},
	{"NetworkPolicies", func(t *testing.T, objects []*unstructured.Unstructured) {
		for name, want := range map[string][]int{relayName: {1}, serviceName: {0, 1, 1}, certsName: {0}} {
			var peers []int
			for _, rule := range decode[networkingv1.NetworkPolicy](t, find(t, objects, "NetworkPolicy", name)).Spec.Ingress {
				peers = append(peers, len(rule.From))
			}
			require.Equal(t, want, peers, name)
		}
	}},
}

// Each kustomization that docs/install.md shows can be built as it is, does what the page promises, and leaves the
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
