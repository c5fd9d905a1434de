package clustertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// In each variant: a policy for each of our pods and no other, each port of a pod open but the one for the kubelet's
// probes, which always gets in, and no egress for a pod that calls nothing.
func TestNetworkPoliciesFitThePods(t *testing.T) {
	for _, folder := range renderings() {
		t.Run(folder, func(t *testing.T) {
			objects := render(t, folder)
			unused := map[string]bool{}
			for _, policy := range policiesOf(t, objects) {
				unused[policy.Namespace+"/"+policy.Name] = true
			}
			for _, object := range workloads(objects) {
				pod := podOf(t, object)
				selecting := slices.DeleteFunc(policiesOf(t, objects), func(policy networkingv1.NetworkPolicy) bool {
					return policy.Namespace != pod.GetNamespace() || !selects(t, &policy.Spec.PodSelector, pod)
				})
				if has(folder, "host-network") && object.GetKind() == "DaemonSet" {
					require.Empty(t, selecting, "a policy does not reach the node's network, and must not seem to")
					continue
				}
				require.Len(t, selecting, 1, object.GetName())
				policy := selecting[0]
				delete(unused, policy.Namespace+"/"+policy.Name)
				require.Equal(t, object.GetName(), policy.Name)
				require.Equal(t, object.GetLabels(), policy.Labels)
				require.ElementsMatch(t, portsOf(t, pod), openPorts(policy), object.GetName())
				require.Contains(t, policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
				require.Equal(t, !hasToken(t, object), slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress),
					"%s: only a pod with a token calls anyone", object.GetName())
				require.Empty(t, policy.Spec.Egress)
			}
			require.Empty(t, unused, "these select no pod")
		})
	}
}

func policiesOf(t *testing.T, objects []*unstructured.Unstructured) []networkingv1.NetworkPolicy {
	t.Helper()
	var policies []networkingv1.NetworkPolicy
	for _, object := range objects {
		if object.GetKind() == "NetworkPolicy" {
			policies = append(policies, decode[networkingv1.NetworkPolicy](t, object))
		}
	}
	return policies
}

func selects(t *testing.T, selector *metav1.LabelSelector, pod *unstructured.Unstructured) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return parsed.Matches(labels.Set(pod.GetLabels()))
}

// portsOf are the ports of the pod's containers, without the one for probes.
func portsOf(t *testing.T, pod *unstructured.Unstructured) []int {
	t.Helper()
	var ports []int
	for _, container := range decode[corev1.Pod](t, pod).Spec.Containers {
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
func openPorts(policy networkingv1.NetworkPolicy) []int {
	var open []int
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) > 0 {
			continue
		}
		for _, port := range rule.Ports {
			open = append(open, port.Port.IntValue())
		}
	}
	return open
}

// A user who narrows the webhook's port to the API server must not stop the renewal of its certificate: the certificate
// process asks each replica what it serves.
func TestCertificateProcessReachesTheReplicas(t *testing.T) {
	for _, folder := range renderings() {
		objects := render(t, folder)
		if has(folder, "admission-policy") {
			continue // no webhook
		}
		policy := decode[networkingv1.NetworkPolicy](t, find(t, objects, "NetworkPolicy", serviceName))
		rule := policy.Spec.Ingress[1]
		require.Equal(t, 8443, rule.Ports[0].Port.IntValue())
		require.Len(t, rule.From, 1)
		require.Nil(t, rule.From[0].NamespaceSelector, "of the same namespace")
		if has(folder, "cert-manager") {
			continue // there is no certificate process
		}
		certs := find(t, objects, "Deployment", certsName)
		require.Equal(t, policy.Namespace, certs.GetNamespace())
		require.True(t, selects(t, rule.From[0].PodSelector, podOf(t, certs)), folder)
		require.Contains(t, argumentsOf(t, certsName), "--headless-service="+serviceName+"-replicas")
	}
}

func hasToken(t *testing.T, workload *unstructured.Unstructured) bool {
	t.Helper()
	mounted, _, err := unstructured.NestedBool(workload.Object, "spec", "template", "spec", "automountServiceAccountToken")
	require.NoError(t, err)
	return mounted
}
