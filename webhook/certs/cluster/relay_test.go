package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

// With the rights of install, and get and patch on one ConfigMap.
func TestRelayPublishesInAConfigMap(t *testing.T) {
	c := install(t)
	namespace, ctx := c.names.Namespace, t.Context()
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"the-trust"}, Verbs: []string{"get", "patch"}}
	meta := metav1.ObjectMeta{Name: "trust"}
	_, err := server.Client.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.Client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: meta.Name, APIGroup: rbacv1.GroupName},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: namespace}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	names := RelayNames{Namespace: namespace, AuthoritySecret: c.names.AuthoritySecret, ServingSecret: c.names.ServingSecret, TrustConfigMap: "the-trust"}
	relay, err := NewRelay(rest.CopyConfig(c.config), names, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err = relay.Read(ctx)
		return err != nil && !apierrors.IsForbidden(err)
	}, 20*time.Second, 50*time.Millisecond)
	require.ErrorContains(t, err, "configmap "+namespace+"/the-trust does not exist: apply the manifests again")

	trust := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "the-trust"}, Data: map[string]string{"other": "stays"}}
	_, err = server.Client.CoreV1().ConfigMaps(namespace).Create(ctx, trust, metav1.CreateOptions{})
	require.NoError(t, err)
	before, err := relay.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, [][]byte{{}}, before.Webhooks.Bundles)

	want := bundle(t)
	require.NoError(t, relay.WriteBundle(ctx, before.Webhooks, want))
	after, err := relay.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, [][]byte{want}, after.Webhooks.Bundles)
	require.Empty(t, after.Serving.Data, "the Secret with the key is left alone")
	stored, err := server.Client.CoreV1().ConfigMaps(namespace).Get(ctx, "the-trust", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"other": "stays", rotation.TrustKey: string(want)}, stored.Data)
	require.ErrorIs(t, relay.WriteBundle(ctx, before.Webhooks, nil), rotation.ErrConflict)
}
