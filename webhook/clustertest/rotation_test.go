package clustertest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// The webhook's CA and certificate are replaced, all by itself, while VMs start. They are due when the certificate process
// starts; that it waits until they are, webhook/certs tests.
func TestRotationHarmsNoVM(t *testing.T) {
	install(t, ".")
	old := issuePair(t, productNamespace, serviceName, serverName, 61*24*time.Hour)
	setWebhook(t, "clientConfig/caBundle", old.CertPEM)
	replicas := joinReplicas(t, 2, mountSecret(t, serviceName+"-tls"))
	before := failedOpen(t.Context(), t)
	stop := load(t)
	startCerts(t, forward(t, replicas), "--settle=3s")

	overlapped := false
	eventually(t, func() bool {
		bundle := caBundle(t)
		overlapped = overlapped || len(bundle) > 1
		return len(bundle) == 1 && !bundle.Contains(old.Certificate)
	}, "the CA was replaced and the old one is no longer trusted")
	stop().requireNoneHarmed(t, failedOpen(t.Context(), t)-before, replicas...)
	require.True(t, overlapped, "old and new are trusted together for a while")
}

// issuePair fills the Secrets of a CA and of a serving certificate as the certificate process did that long ago.
func issuePair(t *testing.T, namespace, prefix, dnsName string, ago time.Duration) *pki.Pair {
	t.Helper()
	ca, err := pki.NewCA(dnsName, time.Now().Add(-ago), 90*24*time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, dnsName, time.Now(), 30*24*time.Hour)
	require.NoError(t, err)
	for name, data := range map[string]map[string][]byte{
		prefix + "-ca":  {certs.CertKey: ca.CertPEM, certs.KeyKey: ca.KeyPEM},
		prefix + "-tls": {certs.CertKey: leaf.CertPEM, certs.KeyKey: leaf.KeyPEM, certs.TrustKey: ca.CertPEM},
	} {
		patch, err := json.Marshal(map[string]any{"data": data})
		require.NoError(t, err)
		_, err = server.Client.CoreV1().Secrets(namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
	}
	return ca
}

// An upgrade applies the manifests again, and a GitOps tool does all day: neither takes a certificate away.
func TestApplyingAgainLeavesTheCertificatesAlone(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t))
	var secrets map[string]map[string][]byte
	eventually(t, func() bool {
		secrets = secretsData(t)
		return len(secrets[serviceName+"-ca"]) > 0 && len(secrets[serviceName+"-tls"]) > 0
	})
	bundle := caBundle(t)
	require.Len(t, bundle, 1)
	for _, object := range render(t, ".") {
		switch object.GetKind() {
		case "Secret", "MutatingWebhookConfiguration":
			require.NoError(t, server.Apply(t.Context(), object))
		}
	}
	require.Equal(t, bundle, caBundle(t))
	require.Equal(t, secrets, secretsData(t))
}

// caBundle is what the API server verifies the webhook by.
func caBundle(t *testing.T) pki.Bundle {
	t.Helper()
	configuration, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Get(context.Background(), configurationName, metav1.GetOptions{})
	require.NoError(t, err)
	bundle, err := pki.ParseBundle(configuration.Webhooks[0].ClientConfig.CABundle)
	require.NoError(t, err)
	return bundle
}

// setWebhook writes one field of the webhook's configuration, whether it is there or not.
func setWebhook(t *testing.T, field string, value any) {
	t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/" + field, "value": value}})
	require.NoError(t, err)
	_, err = server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(t.Context(), configurationName, types.JSONPatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

func secretsData(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	secrets, err := server.Client.CoreV1().Secrets(productNamespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	data := map[string]map[string][]byte{}
	for _, secret := range secrets.Items {
		data[secret.Name] = secret.Data
	}
	return data
}

// relayCertificates are the CAs that Prometheus should trust and the relay's certificate; false until there are both.
func relayCertificates(t *testing.T) (trusted, served pki.Bundle, found bool) {
	t.Helper()
	core := server.Client.CoreV1()
	secret, err := core.Secrets(relayNamespace).Get(context.Background(), relayName+"-tls", metav1.GetOptions{})
	require.NoError(t, err)
	trust, err := core.ConfigMaps(relayNamespace).Get(context.Background(), relayName+"-ca", metav1.GetOptions{})
	require.NoError(t, err)
	served, err = pki.ParseBundle(secret.Data["tls.crt"])
	require.NoError(t, err)
	trusted, err = pki.ParseBundle([]byte(trust.Data["ca.crt"]))
	require.NoError(t, err)
	return trusted, served, len(served) > 0 && len(trusted) > 0
}

// CA and certificate are replaced, and at every moment what Prometheus trusts verifies what the relay serves.
func TestRelayRotationLeavesNoGap(t *testing.T) {
	install(t, ".")
	const relayServerName = relayName + "." + relayNamespace + ".svc"
	old := issuePair(t, relayNamespace, relayName, relayServerName, 61*24*time.Hour)
	startCerts(t, freePort(t), "--relay-settle=3s")
	overlapped := false
	eventually(t, func() bool {
		trusted, served, found := relayCertificates(t)
		if !found {
			return false
		}
		require.NoError(t, trusted.Verify(served[0], relayServerName, time.Now()))
		overlapped = overlapped || len(trusted) > 1
		return len(trusted) == 1 && !trusted.Contains(old.Certificate)
	}, "the CA was replaced and the old one is no longer trusted")
	require.True(t, overlapped, "old and new are trusted together for a while")
}
