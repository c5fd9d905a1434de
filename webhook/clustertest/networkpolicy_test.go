package clustertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// In each variant, as the API server stores them: a policy for each of our pods and no other, each port of a pod open but
// the one for the kubelet's probes, which always gets in, and no egress for a pod that calls nothing.
func TestNetworkPoliciesFitThePods(t *testing.T) {
	for _, folder := range installable {
		t.Run(folder, func(t *testing.T) {
			install(t, folder)
			used := map[string]bool{}
			for _, object := range render(t, folder) {
				if !isWorkload(object) {
					continue
				}
				pod := podOf(t, object)
				policies := policiesFor(t, pod)
				if folder == "overlays/host-network" && object.GetKind() == "DaemonSet" {
					require.Empty(t, policies, "a policy does not reach the node's network, and must not look as if it did")
					continue
				}
				require.Len(t, policies, 1, object.GetName())
				policy := policies[0]
				used[policy.Namespace+"/"+policy.Name] = true
				require.Equal(t, object.GetName(), policy.Name)
				require.Equal(t, object.GetLabels(), policy.Labels)
				require.ElementsMatch(t, portsOf(t, pod), openPorts(t, policy), object.GetName())
				require.Contains(t, policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
				require.Equal(t, !hasToken(t, object), slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress),
					"%s: only what has a token has someone to ask", object.GetName())
				require.Empty(t, policy.Spec.Egress)
			}
			for _, object := range render(t, folder) {
				if object.GetKind() == "NetworkPolicy" {
					require.True(t, used[object.GetNamespace()+"/"+object.GetName()], "%s selects no pod", object.GetName())
				}
			}
		})
	}
}

// policiesFor are the stored policies that select the pod.
func policiesFor(t *testing.T, pod *unstructured.Unstructured) []networkingv1.NetworkPolicy {
	t.Helper()
	list, err := server.Client.NetworkingV1().NetworkPolicies(pod.GetNamespace()).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return slices.DeleteFunc(list.Items, func(policy networkingv1.NetworkPolicy) bool {
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		require.NoError(t, err)
		return !selector.Matches(labels.Set(pod.GetLabels()))
	})
}

// portsOf are the ports of the pod's containers, without the one for probes.
func portsOf(t *testing.T, pod *unstructured.Unstructured) []int {
	t.Helper()
	var typed corev1.Pod
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(pod.Object, &typed))
	var ports []int
	for _, container := range typed.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name != "health" {
				ports = append(ports, int(port.ContainerPort))
			}
		}
	}
	require.NotEmpty(t, ports)
	return ports
}

// openPorts are the ports that the policy opens to anyone. A rule with peers is a second one for a port.
func openPorts(t *testing.T, policy networkingv1.NetworkPolicy) []int {
	t.Helper()
	var open []int
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) > 0 {
			continue
		}
		for _, port := range rule.Ports {
			require.Equal(t, corev1.ProtocolTCP, *port.Protocol)
			open = append(open, port.Port.IntValue())
		}
	}
	return open
}

// A user who narrows the webhook's port to the API server must not stop the renewal of its certificate: the certificate
// process asks each replica what it serves.
func TestCertificateProcessReachesTheReplicas(t *testing.T) {
	for _, folder := range installable {
		objects := render(t, folder)
		i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == "NetworkPolicy" && o.GetName() == serviceName
		})
		if folder == policyOverlay {
			require.Negative(t, i, "no webhook")
			continue
		}
		var policy networkingv1.NetworkPolicy
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &policy))
		rule := policy.Spec.Ingress[1]
		require.Equal(t, 8443, rule.Ports[0].Port.IntValue())
		require.Len(t, rule.From, 1)
		require.Nil(t, rule.From[0].NamespaceSelector, "of the same namespace")
		selector, err := metav1.LabelSelectorAsSelector(rule.From[0].PodSelector)
		require.NoError(t, err)
		if folder == "overlays/cert-manager" {
			continue // there is no certificate process
		}
		certs := find(t, objects, "Deployment", certsName)
		require.Equal(t, policy.Namespace, certs.GetNamespace())
		require.True(t, selector.Matches(labels.Set(podOf(t, certs).GetLabels())), folder)
		require.Contains(t, argumentsOf(t, certsName), "--headless-service="+serviceName+"-replicas")
	}
}

func hasToken(t *testing.T, workload *unstructured.Unstructured) bool {
	t.Helper()
	mounted, _, err := unstructured.NestedBool(workload.Object, "spec", "template", "spec", "automountServiceAccountToken")
	require.NoError(t, err)
	return mounted
}

// What docs/install.md has for kustomize narrows the rules that it says.
func TestInstallPageNarrowsNetworkPolicies(t *testing.T) {
	page, err := os.ReadFile("../../docs/install.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "## NetworkPolicies\n")
	require.True(t, found)
	_, patches, found := strings.Cut(section, "```yaml\n")
	require.True(t, found)
	patches, _, _ = strings.Cut(patches, "```")

	folder, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	absolute, err := filepath.Abs(manifests)
	require.NoError(t, err)
	base, err := filepath.Rel(folder, absolute)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte("resources: ["+base+"]\n"+patches), 0o600))
	objects := renderFolder(t, folder)
	for name, want := range map[string][]int{"hypervisor-exporter-relay": {1}, serviceName: {0, 1, 1}, certsName: {0}} {
		var policy networkingv1.NetworkPolicy
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(find(t, objects, "NetworkPolicy", name).Object, &policy))
		var peers []int
		for _, rule := range policy.Spec.Ingress {
			peers = append(peers, len(rule.From))
		}
		require.Equal(t, want, peers, name)
	}
}
