package clustertest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// stores are what the certificate process reads and writes, with its own token, by what the certificates are for.
func stores(t *testing.T) map[string]*certs.KubeStore {
	t.Helper()
	install(t, ".")
	config := rest.AnonymousClientConfig(server.Config)
	config.BearerToken = server.Token(t, productNamespace, certsName)
	all := map[string]*certs.KubeStore{}
	for name, names := range map[string]certs.Names{
		"webhook": {Namespace: productNamespace, CASecret: serviceName + "-ca", ServingSecret: serviceName + "-tls",
			WebhookConfiguration: configurationName},
		"relay": {Namespace: relayNamespace, CASecret: relayName + "-ca", ServingSecret: relayName + "-tls",
			TrustConfigMap: relayName + "-ca"},
	} {
		store, err := certs.NewKubeStore(config, names, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		// The API server's authorizer reads bindings from a watch.
		testkit.Eventually(t, func() error { _, err := store.Read(t.Context()); return err })
		all[name] = store
	}
	return all
}

func TestStoreReadsWhatItWrote(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			before, err := store.Read(t.Context())
			require.NoError(t, err)
			require.Empty(t, before.CA.Data)
			require.Len(t, before.Published.Names, 1)

			first := map[string][]byte{"tls.crt": []byte("1"), "tls.key": []byte("2")}
			bundle := newCA(t).CertPEM
			require.NoError(t, store.WriteCA(t.Context(), before.CA.Version, first))
			require.NoError(t, store.WriteServing(t.Context(), before.Serving.Version, map[string][]byte{"ca.crt": []byte("3")}))
			require.NoError(t, store.WriteBundle(t.Context(), before.Published, bundle))
			after, err := store.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, first, after.CA.Data)
			require.Equal(t, map[string][]byte{"ca.crt": []byte("3")}, after.Serving.Data)
			require.Equal(t, [][]byte{bundle}, after.Published.Bundles)

			// An object that has changed since it was read is not written.
			second := map[string][]byte{"tls.crt": []byte("4")}
			require.ErrorIs(t, store.WriteCA(t.Context(), before.CA.Version, second), certs.ErrConflict)
			require.ErrorIs(t, store.WriteServing(t.Context(), before.Serving.Version, second), certs.ErrConflict)
			require.ErrorIs(t, store.WriteBundle(t.Context(), before.Published, newCA(t).CertPEM), certs.ErrConflict)

			require.NoError(t, store.WriteCA(t.Context(), after.CA.Version, second))
			after, err = store.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string][]byte{"tls.crt": []byte("4"), "tls.key": []byte("2")}, after.CA.Data, "other keys stay")
			require.Equal(t, [][]byte{bundle}, after.Published.Bundles)
		})
	}
	configuration, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Get(t.Context(), configurationName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, serviceName, configuration.Webhooks[0].ClientConfig.Service.Name, "other fields stay")
}

// The error for a missing object names what helps. A missing webhook configuration is none: no API server calls us yet.
func TestStoreWithoutItsObjects(t *testing.T) {
	all := stores(t)
	configurations := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	require.NoError(t, configurations.Delete(t.Context(), configurationName, metav1.DeleteOptions{}))
	found, err := all["webhook"].Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, found.Published.Names)

	require.NoError(t, server.Client.CoreV1().Secrets(productNamespace).Delete(t.Context(), serviceName+"-tls", metav1.DeleteOptions{}))
	_, err = all["webhook"].Read(t.Context())
	require.ErrorContains(t, err, "secrets hypervisor-exporter/hypervisor-exporter-webhook-tls does not exist; apply the manifests again")
	require.NoError(t, server.Client.CoreV1().ConfigMaps(relayNamespace).Delete(t.Context(), relayName+"-ca", metav1.DeleteOptions{}))
	_, err = all["relay"].Read(t.Context())
	require.ErrorContains(t, err, "configmaps hypervisor-exporter-relay/hypervisor-exporter-relay-ca does not exist; apply")
}

func TestStoreWatchesTheWebhookConfiguration(t *testing.T) {
	store := stores(t)["webhook"]
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 64)
	var watching sync.WaitGroup
	watching.Go(func() { store.Watch(ctx, func() { changes <- struct{}{} }) })
	defer watching.Wait()
	defer cancel()
	await := func() {
		testkit.Eventually(t, func() error {
			select {
			case <-changes:
				return nil
			default:
				return errors.New("no change was seen")
			}
		})
	}
	await() // the object as it is
	snapshot, err := store.Read(t.Context())
	require.NoError(t, err)
	err = store.WriteBundle(t.Context(), snapshot.Published, newCA(t).CertPEM)
	require.True(t, err == nil || apierrors.IsConflict(err), err)
	await()
}
