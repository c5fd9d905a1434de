package charttest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// everything sets as much as can be set at once, in a release of another name and namespace.
const elsewhere = "elsewhere"

var everything = []string{"--namespace=" + elsewhere, "--values=testdata/everything.yaml"}

// The API server accepts what equals the manifests; this is the rest. Strict: an unknown or repeated field is an error.
func TestEverythingSetIsAppliedStrictly(t *testing.T) {
	server.Define(t, apiservertest.CertManager, apiservertest.PodMonitors, apiservertest.PrometheusRules)
	for name, flags := range map[string][]string{
		"everything":                  everything,
		"direct by cert-manager":      {"--set=exposure=direct,certificates.source=certManager"},
		"policy by cert-manager":      {"--set=injector=admissionPolicy,certificates.source=certManager"},
		"direct on OpenShift":         {"--set=exposure=direct,openshift=true"},
		"cert-manager, no PodMonitor": {"--set=certificates.source=certManager,monitoring.podMonitors.enabled=false"},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := server.Namespace(t, "strict", nil)
			for _, object := range render(t, append(flags, "--namespace="+namespace, "--set=relay.namespace.name="+namespace+"-relay")...) {
				require.NoError(t, server.Apply(t.Context(), object))
				t.Cleanup(func() { deleteClusterWide(t, object) })
			}
		})
	}
}

// A release is installed, upgraded, rolled back and uninstalled, by server-side apply (helm 4) and by the three-way merge
// of helm 3.
func TestReleaseLeavesAloneWhatTheCertificateProcessWrote(t *testing.T) {
	server.Define(t, apiservertest.CertManager, apiservertest.PodMonitors, apiservertest.PrometheusRules)
	for name, way := range map[string]struct {
		client helmClient
		flags  []string
	}{
		"server-side":       {client, []string{"--server-side=true"}},
		"three-way merge":   {client, []string{"--server-side=false"}},
		"helm 3, its merge": {client3, nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := way.client
			namespace := server.Namespace(t, "release", nil)
			flags := append([]string{release, chart, withImages, "--namespace=" + namespace}, way.flags...)
			notes := client.inCluster(t, append([]string{"install"}, flags...)...)
			require.Contains(t, notes, "hypervisor-exporter.kubevirt.io/inject=enabled")
			require.Contains(t, notes, "kubectl -n "+namespace+"-relay rollout status daemonset/hypervisor-exporter-relay")
			require.Contains(t, notes, "The plugin ("+rules.Docs+"/hypervisorctl.md) checks everything")
			fillCertificates(t, namespace)

			client.inCluster(t, append([]string{"upgrade"}, append(flags, "--set=webhook.replicas=3,image.tag=v9")...)...)
			require.EqualValues(t, 3, replicas(t, namespace))
			requireCertificates(t, namespace)
			client.inCluster(t, append([]string{"rollback", release, "1", "--namespace=" + namespace}, way.flags...)...)
			require.EqualValues(t, 2, replicas(t, namespace))
			requireCertificates(t, namespace)

			objects := render(t, "--namespace="+namespace)
			client.inCluster(t, "uninstall", release, "--namespace="+namespace)
			for _, object := range objects {
				requireGone(t, object)
			}
		})
	}
}

// Without the Prometheus operator's CRDs, the chart installs what else there is and says so. It does with Helm 3, too.
func TestInstallWithoutThePrometheusOperator(t *testing.T) {
	for name, client := range map[string]helmClient{"helm 4": client, "helm 3": client3} {
		t.Run(name, func(t *testing.T) {
			server.Define(t, apiservertest.PodMonitors, apiservertest.PrometheusRules)
			server.Undefine(t, "podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")
			namespace := "alone-" + strings.ReplaceAll(name, " ", "-")
			flags := []string{release, chart, withImages, "--namespace=" + namespace}
			notes := client.inCluster(t, append([]string{"install", "--create-namespace"}, flags...)...)
			require.Contains(t, notes, "Nothing is scraped yet")
			require.EqualValues(t, 2, replicas(t, namespace))

			server.Define(t, apiservertest.PodMonitors, apiservertest.PrometheusRules)
			notes = client.inCluster(t, append([]string{"upgrade"}, flags...)...)
			require.NotContains(t, notes, "Nothing is scraped yet")
			client.inCluster(t, "uninstall", release, "--namespace="+namespace)
		})
	}
}

// A user of the manifests can switch to helm, and VMs notice nothing: the certificates stay.
func TestReleaseTakesOverFromKustomize(t *testing.T) {
	server.Define(t, apiservertest.CertManager, apiservertest.PodMonitors, apiservertest.PrometheusRules)
	for _, object := range kustomize(t, ".") {
		require.NoError(t, server.Apply(t.Context(), object))
	}
	fillCertificates(t, usualNamespace)
	client.inCluster(t, "install", release, chart, withImages, "--namespace="+usualNamespace, "--take-ownership", "--force-conflicts")
	requireCertificates(t, usualNamespace)
	client.inCluster(t, "uninstall", release, "--namespace="+usualNamespace)
}

// certificateSecrets are the Secrets that the certificate process fills, by namespace.
func certificateSecrets(namespace string) map[string][]string {
	return map[string][]string{
		namespace:            {"hypervisor-exporter-webhook-ca", "hypervisor-exporter-webhook-tls"},
		namespace + "-relay": {"hypervisor-exporter-relay-ca", "hypervisor-exporter-relay-tls"},
	}
}

// caBundle is any certificate: the API server only requires that it is one.
func caBundle() []byte { return server.Config.CAData }

// fillCertificates writes what `webhook certs` writes, in the way it does: by patches.
func fillCertificates(t *testing.T, namespace string) {
	t.Helper()
	for namespace, names := range certificateSecrets(namespace) {
		for _, name := range names {
			_, err := server.Client.CoreV1().Secrets(namespace).Patch(t.Context(), name, types.MergePatchType,
				[]byte(`{"data": {"tls.crt": "Y2VydA==", "tls.key": "a2V5"}}`), metav1.PatchOptions{FieldManager: "certs"})
			require.NoError(t, err)
		}
	}
	configurations := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(t.Context(), "hypervisor-exporter", metav1.GetOptions{})
	require.NoError(t, err)
	configuration.Webhooks[0].ClientConfig.CABundle = caBundle()
	_, err = configurations.Update(t.Context(), configuration, metav1.UpdateOptions{FieldManager: "certs"})
	require.NoError(t, err)
}

func requireCertificates(t *testing.T, namespace string) {
	t.Helper()
	for namespace, names := range certificateSecrets(namespace) {
		for _, name := range names {
			secret, err := server.Client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, map[string][]byte{corev1.TLSCertKey: []byte("cert"), corev1.TLSPrivateKeyKey: []byte("key")}, secret.Data, name)
		}
	}
	configuration, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Get(t.Context(), "hypervisor-exporter", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, caBundle(), configuration.Webhooks[0].ClientConfig.CABundle)
}

func replicas(t *testing.T, namespace string) int32 {
	t.Helper()
	deployment, err := server.Client.AppsV1().Deployments(namespace).Get(t.Context(), "hypervisor-exporter-webhook", metav1.GetOptions{})
	require.NoError(t, err)
	return *deployment.Spec.Replicas
}

// requireGone checks that the object is deleted. A namespace stays: no controller runs here that would empty it.
func requireGone(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	stored, err := server.Get(t.Context(), object)
	if object.GetKind() == "Namespace" {
		require.NoError(t, err)
		require.NotNil(t, stored.GetDeletionTimestamp())
		return
	}
	require.True(t, apierrors.IsNotFound(err), "%s %s: %v", object.GetKind(), object.GetName(), err)
}

// deleteClusterWide deletes objects that the next test makes, too. Each test has its own namespaces.
func deleteClusterWide(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetNamespace() == "" && object.GetKind() != "Namespace" {
		require.NoError(t, server.Delete(context.Background(), object)) // t.Context has ended in a cleanup
	}
}
