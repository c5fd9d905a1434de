package clustertest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// CA and certificate come to their end and are replaced, all by themselves, while VMs start.
func TestRotationHarmsNoVM(t *testing.T) {
	// Renewed when a third is left: after 80 s. The next renewal begins as much later, and has to find this one done.
	serveWithCerts(t, "--ca-lifetime=2m", "--leaf-lifetime=2m", "--settle=3s")
	first := caBundle(t)
	require.Len(t, first, 1)
	before := failedOpen(t.Context(), t)
	start := time.Now()
	stop := load(t, server.Namespace(t, "rotation", labelled()))

	overlapped := false
	require.Eventually(t, func() bool {
		bundle := caBundle(t)
		overlapped = overlapped || len(bundle) > 1
		return len(bundle) == 1 && !bundle[0].Equal(first[0])
	}, 4*time.Minute, 100*time.Millisecond, "the CA was replaced and the old one is no longer trusted")
	requireNoneHarmed(t, stop(), time.Since(start))
	require.True(t, overlapped, "old and new are trusted together for a while")
	require.Equal(t, before, failedOpen(t.Context(), t), "no call was in vain")
}

func TestOverwrittenCABundleIsRepaired(t *testing.T) {
	serveWithCerts(t)
	good := caBundle(t)
	for name, bundle := range map[string][]byte{"emptied": nil, "another CA": newCA(t).CertPEM} {
		t.Run(name, func(t *testing.T) {
			setWebhook(t, "clientConfig/caBundle", bundle)
			start := time.Now()
			require.Eventually(t, func() bool {
				now := caBundle(t)
				return len(now) == 1 && now[0].Equal(good[0])
			}, 10*time.Second, 50*time.Millisecond)
			awaitInjecting(t)
			t.Logf("repaired, and injecting again, after %s", time.Since(start).Round(time.Millisecond))
		})
	}
}

// An upgrade applies the manifests again, and a GitOps tool does all day: neither takes a certificate away.
func TestApplyingAgainLeavesTheCertificatesAlone(t *testing.T) {
	serveWithCerts(t)
	bundle, secrets := caBundle(t), secretsData(t)
	for _, object := range render(t, ".") {
		switch object.GetKind() {
		case "Secret", "MutatingWebhookConfiguration":
			require.NoError(t, server.Apply(t.Context(), object))
		}
	}
	require.Equal(t, bundle, caBundle(t))
	require.Equal(t, secrets, secretsData(t))
}

func TestCertificateProcessMayDoNoMore(t *testing.T) {
	install(t, ".")
	client := server.As(t, server.Token(t, productNamespace, "hypervisor-exporter-certs"))
	secrets, configurations := client.CoreV1().Secrets(productNamespace), client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	patch := []byte(`{"metadata":{"labels":{"a":"b"}}}`)

	_, err := secrets.Get(t.Context(), "hypervisor-exporter-webhook-ca", metav1.GetOptions{})
	require.NoError(t, err)

	refused := map[string]func(context.Context) error{
		"list the secrets": func(ctx context.Context) error {
			_, err := secrets.List(ctx, metav1.ListOptions{})
			return err
		},
		"read another secret": func(ctx context.Context) error {
			_, err := secrets.Get(ctx, "another", metav1.GetOptions{})
			return err
		},
		"read a secret of the same name elsewhere": func(ctx context.Context) error {
			_, err := client.CoreV1().Secrets("default").Get(ctx, "hypervisor-exporter-webhook-ca", metav1.GetOptions{})
			return err
		},
		"change another secret": func(ctx context.Context) error {
			_, err := secrets.Patch(ctx, "another", types.MergePatchType, []byte(`{"data":{"a":"YQ=="}}`), metav1.PatchOptions{})
			return err
		},
		"change Prometheus' token": func(ctx context.Context) error {
			_, err := client.CoreV1().Secrets(relayNamespace).Patch(ctx, "hypervisor-exporter-scraper", types.MergePatchType, []byte(`{"data":{"token":"YQ=="}}`), metav1.PatchOptions{})
			return err
		},
		"replace its own webhook": func(ctx context.Context) error {
			configuration, err := configurations.Get(ctx, configurationName, metav1.GetOptions{})
			require.NoError(t, err)
			_, err = configurations.Update(ctx, configuration, metav1.UpdateOptions{})
			return err
		},
		"change its own policy": func(ctx context.Context) error {
			_, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Patch(ctx, certsName, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"give itself a right": func(ctx context.Context) error {
			_, err := client.RbacV1().ClusterRoles().Patch(ctx, certsName, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"delete its own secret": func(ctx context.Context) error {
			return secrets.Delete(ctx, "hypervisor-exporter-webhook-ca", metav1.DeleteOptions{})
		},
		"change another webhook": func(ctx context.Context) error {
			_, err := configurations.Patch(ctx, "another", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"list the webhooks": func(ctx context.Context) error {
			_, err := configurations.List(ctx, metav1.ListOptions{})
			return err
		},
		"delete its own webhook": func(ctx context.Context) error {
			return configurations.Delete(ctx, configurationName, metav1.DeleteOptions{})
		},
	}
	for name, try := range refused {
		t.Run(name, func(t *testing.T) {
			require.True(t, apierrors.IsForbidden(try(t.Context())))
		})
	}
}

// serveWithCerts installs the webhook with two replicas whose certificates the real `webhook certs` makes. It returns
// once pods are injected.
func serveWithCerts(t *testing.T, further ...string) {
	t.Helper()
	install(t, ".")
	certificates := mountSecret(t, "hypervisor-exporter-webhook-tls")
	replicas := []*replica{startReplica(t, certificates), startReplica(t, certificates)}
	startCerts(t, forward(t, replicas), further...)
	for _, r := range replicas {
		r.awaitReady(t)
		join(t, r.port)
	}
	awaitInjecting(t)
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
		require.NotEmpty(t, secret.Data, secret.Name)
		data[secret.Name] = secret.Data
	}
	return data
}
