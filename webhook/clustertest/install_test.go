package clustertest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// install applies a folder of manifests, without what needs others' definitions, until the end of the test.
func install(t *testing.T, folder string) {
	t.Helper()
	for _, object := range render(t, folder) {
		switch object.GroupVersionKind().Group {
		case "monitoring.coreos.com", "cert-manager.io":
			continue
		}
		require.NoError(t, server.Apply(t.Context(), object))
	}
	makeDefaultServiceAccount(t)
	t.Cleanup(func() { uninstall(t) })
}

func makeDefaultServiceAccount(t *testing.T) {
	t.Helper()
	accounts := server.Client.CoreV1().ServiceAccounts(productNamespace)
	if _, err := accounts.Get(t.Context(), "default", metav1.GetOptions{}); apierrors.IsNotFound(err) {
		server.DefaultServiceAccount(t, productNamespace)
	}
}

// uninstall removes what one test must not leave to the next. The namespace stays: no controller would empty it.
func uninstall(t *testing.T) {
	t.Helper()
	ctx := context.Background() // the test's is over in its cleanup
	configurations := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	require.NoError(t, ignoreNotFound(configurations.Delete(ctx, configurationName, metav1.DeleteOptions{})))
	for policy, names := range map[string][]string{
		"mutatingadmissionpolicybindings": {configurationName}, "mutatingadmissionpolicies": {configurationName},
		"validatingadmissionpolicybindings": {certsName, serviceName}, "validatingadmissionpolicies": {certsName, serviceName},
	} {
		for _, name := range names {
			require.NoError(t, ignoreNotFound(server.Client.AdmissionregistrationV1().RESTClient().Delete().
				Resource(policy).Name(name).Do(ctx).Error()))
		}
	}
	trust := server.Client.CoreV1().ConfigMaps(relayNamespace)
	require.NoError(t, ignoreNotFound(trust.Delete(ctx, "hypervisor-exporter-relay-ca", metav1.DeleteOptions{})))
	for namespace, names := range map[string][]string{
		productNamespace: {"hypervisor-exporter-webhook-tls", "hypervisor-exporter-webhook-ca"},
		relayNamespace:   {"hypervisor-exporter-relay-tls", "hypervisor-exporter-relay-ca", "hypervisor-exporter-scraper"},
	} {
		for _, name := range names {
			require.NoError(t, ignoreNotFound(server.Client.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{})))
		}
		require.NoError(t, server.Client.NetworkingV1().NetworkPolicies(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func dryRun() metav1.CreateOptions { return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}} }

// podOf is the pod that a Deployment's controllers would create.
func podOf(t *testing.T, deployment *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	template, found, err := unstructured.NestedMap(deployment.Object, "spec", "template")
	require.NoError(t, err)
	require.True(t, found)
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetNamespace(deployment.GetNamespace())
	pod.SetGenerateName(deployment.GetName() + "-")
	return pod
}

// giveOpenShiftUser does what OpenShift's restricted-v2 does to a pod without a user of its own.
func giveOpenShiftUser(t *testing.T, pod *unstructured.Unstructured) {
	t.Helper()
	_, found, _ := unstructured.NestedFieldNoCopy(pod.Object, "spec", "securityContext", "runAsUser")
	require.False(t, found, "a fixed user is refused there")
	require.NoError(t, unstructured.SetNestedField(pod.Object, int64(1000650000), "spec", "securityContext", "runAsUser"))
}
