// Package clustertest runs the webhook, its certificates and its manifests against a real kube-apiserver.
package clustertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

var (
	server   *apiservertest.Server
	programs string // the folder of what the tests build
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "clustertest"); err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(programs) }()
		return apiservertest.Run(m, func(s *apiservertest.Server) { server = s })
	}())
}

// program returns the path of one of the product's programs, built as it is shipped.
func program(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, buildPrograms())
	return filepath.Join(programs, name)
}

var buildPrograms = sync.OnceValue(func() error {
	return testkit.Build(context.Background(), programs, "./webhook", "./relay", "./sidecar")
})

// eventually waits for what must become true.
func eventually(t testing.TB, ask func() bool, what ...any) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if !ask() {
			return fmt.Errorf("not yet: %v", what)
		}
		return nil
	})
}

// The cached kube-apiserver is the one that the module pins, and refuses unknown fields.
func TestServerIsTheVersionThatBuildPins(t *testing.T) {
	version, err := server.Client.Discovery().ServerVersion()
	require.NoError(t, err)
	pinned, err := os.ReadFile("../../internal/testkit/apiservertest/build/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(pinned), "k8s.io/kubernetes "+version.GitVersion)

	objects, err := apiservertest.Objects(strings.NewReader(
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, dada: {}}`))
	require.NoError(t, err)
	require.ErrorContains(t, server.Apply(t.Context(), objects[0]), "dada")
}

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
