package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

var server *apiservertest.Server

func TestMain(m *testing.M) {
	os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s }))
}

// installed is a namespace with our objects, and a Cluster with no more rights
// than the manifests give.
type installed struct {
	names  Names
	config *rest.Config
	*Cluster
}

func install(t *testing.T) installed {
	t.Helper()
	namespace := server.Namespace(t, "certs", nil)
	names := Names{namespace, "the-ca", "the-tls", namespace}
	for _, name := range []string{names.AuthoritySecret, names.ServingSecret, "another"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := server.Client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	createConfiguration(t, names.WebhookConfiguration)
	grant(t, names)
	config := rest.AnonymousClientConfig(server.Config)
	config.BearerToken = server.Token(t, namespace, "default")
	cluster, err := New(config, names, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	// The API server's authorizer learns of bindings through a watch.
	require.Eventually(t, func() bool { _, err := cluster.Read(t.Context()); return err == nil }, 20*time.Second, 50*time.Millisecond)
	return installed{names, config, cluster}
}

func createConfiguration(t *testing.T, name string) {
	t.Helper()
	none, path := admissionregistrationv1.SideEffectClassNone, "/mutate"
	var webhooks []admissionregistrationv1.MutatingWebhook
	for _, webhook := range []string{"one.example.com", "two.example.com"} {
		webhooks = append(webhooks, admissionregistrationv1.MutatingWebhook{
			Name: webhook, AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
			ClientConfig:      admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: name, Name: "s", Path: &path}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has-this"}},
		})
	}
	_, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(),
		&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: webhooks}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
		require.True(t, err == nil || apierrors.IsNotFound(err), err)
	})
}

// grant gives the namespace's default service account the rights that the
// documentation of Cluster names, and no other.
func grant(t *testing.T, names Names) {
	t.Helper()
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: names.Namespace}}
	meta := metav1.ObjectMeta{Name: names.Namespace}
	_, err := server.Client.RbacV1().Roles(names.Namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{names.AuthoritySecret, names.ServingSecret}, Verbs: []string{"get", "patch"},
	}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.Client.RbacV1().RoleBindings(names.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subject, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: meta.Name, APIGroup: rbacv1.GroupName},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations"}, ResourceNames: []string{names.WebhookConfiguration}, Verbs: []string{"get", "watch", "patch"},
	}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subject, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name, APIGroup: rbacv1.GroupName},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func bundle(t *testing.T) []byte {
	t.Helper()
	authority, err := pki.NewAuthority("s.ns.svc", time.Now(), time.Hour)
	require.NoError(t, err)
	return authority.CertPEM
}

func TestWritesAreReadBack(t *testing.T) {
	c := install(t)
	before, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, before.Authority.Data)
	require.Len(t, before.Webhooks.Names, 2)

	require.NoError(t, c.WriteAuthority(t.Context(), before.Authority.Version, map[string][]byte{"a": []byte("1"), "b": []byte("2")}))
	require.NoError(t, c.WriteServing(t.Context(), before.Serving.Version, map[string][]byte{"c": []byte("3")}))
	want := bundle(t)
	require.NoError(t, c.WriteBundle(t.Context(), before.Webhooks, want))

	after, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a": []byte("1"), "b": []byte("2")}, after.Authority.Data)
	require.Equal(t, map[string][]byte{"c": []byte("3")}, after.Serving.Data)
	require.Equal(t, [][]byte{want, want}, after.Webhooks.Bundles)

	require.NoError(t, c.WriteAuthority(t.Context(), after.Authority.Version, map[string][]byte{"a": []byte("4")}))
	after, err = c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a": []byte("4"), "b": []byte("2")}, after.Authority.Data, "other keys stay")

	stored, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), c.names.WebhookConfiguration, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "/mutate", *stored.Webhooks[1].ClientConfig.Service.Path, "other fields stay")
}

func TestAWriteToAChangedObjectIsAConflict(t *testing.T) {
	c := install(t)
	seen, err := c.Read(t.Context())
	require.NoError(t, err)
	first := map[string][]byte{"x": []byte("first")}
	require.NoError(t, c.WriteAuthority(t.Context(), seen.Authority.Version, first))
	require.NoError(t, c.WriteServing(t.Context(), seen.Serving.Version, first))
	require.NoError(t, c.WriteBundle(t.Context(), seen.Webhooks, bundle(t)))

	second := map[string][]byte{"x": []byte("second")}
	require.ErrorIs(t, c.WriteAuthority(t.Context(), seen.Authority.Version, second), rotation.ErrConflict)
	require.ErrorIs(t, c.WriteServing(t.Context(), seen.Serving.Version, second), rotation.ErrConflict)
	require.ErrorIs(t, c.WriteBundle(t.Context(), seen.Webhooks, bundle(t)), rotation.ErrConflict)
	now, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, now.Authority.Data)
}

func TestItCanTouchNothingElse(t *testing.T) {
	c := install(t)
	client := server.As(t, c.config.BearerToken)
	_, err := client.CoreV1().Secrets(c.names.Namespace).Get(t.Context(), "another", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = client.CoreV1().Secrets(c.names.Namespace).List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
}

func TestMissingObjects(t *testing.T) {
	c := install(t)
	require.NoError(t, server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), c.names.WebhookConfiguration, metav1.DeleteOptions{}))
	found, err := c.Read(t.Context())
	require.NoError(t, err, "nobody calls us yet")
	require.Empty(t, found.Webhooks.Names)

	require.NoError(t, server.Client.CoreV1().Secrets(c.names.Namespace).Delete(t.Context(), c.names.ServingSecret, metav1.DeleteOptions{}))
	_, err = c.Read(t.Context())
	require.ErrorContains(t, err, "apply the manifests again")
}

// With the rights above alone the watch is allowed, and tells of a change.
func TestWatchTellsOfChanges(t *testing.T) {
	c := install(t)
	var log lockedBuffer
	c.logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 64)
	var watching sync.WaitGroup
	watching.Go(func() { c.Watch(ctx, func() { changes <- struct{}{} }) })
	defer watching.Wait()
	defer cancel()
	await := func() {
		select {
		case <-changes:
		case <-time.After(20 * time.Second):
			t.Fatal("no change seen", log.String())
		}
	}
	await() // the object as it is
	snapshot, err := c.Read(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.WriteBundle(t.Context(), snapshot.Webhooks, bundle(t)))
	await()
	require.Empty(t, log.String())
}

// The whole rotation against a real API server, one replica less: there is none.
func TestRotatorOnARealAPIServer(t *testing.T) {
	c := install(t)
	r := newRotator(c.Cluster)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	serves := func() bool {
		snapshot, err := c.Read(t.Context())
		require.NoError(t, err)
		state := rotation.Interpret(snapshot)
		if state.Leaf == nil {
			return false
		}
		for _, published := range state.Published {
			trusted, err := pki.ParseBundle(published)
			if err != nil || trusted.Verify(state.Leaf.Certificate, "s.ns.svc", time.Now()) != nil {
				return false
			}
		}
		return true
	}
	require.Eventually(t, serves, 20*time.Second, 50*time.Millisecond)

	for range 2 {
		snapshot, err := c.Read(t.Context())
		require.NoError(t, err)
		admin, err := New(server.Config, c.names, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		err = admin.WriteBundle(t.Context(), snapshot.Webhooks, nil)
		require.True(t, err == nil || errors.Is(err, rotation.ErrConflict), err)
		start := time.Now()
		require.Eventually(t, serves, 20*time.Second, 20*time.Millisecond)
		t.Log("an emptied caBundle was repaired after", time.Since(start))
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
