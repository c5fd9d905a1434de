package checks

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The relay gives pages to whoever has the right that the manifests name, and to nobody else.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "authorization"}
	w.start(t, v)
	w.awaitTarget(t, v, "up")
	client, url := w.relayClient(t), page(w.pod(t, v))
	own := strings.Split(url, "/pods/")[0] + "/metrics"

	token := w.tokenFor(t, "stranger")
	for _, path := range []string{url, own} {
		for _, c := range []struct {
			token string
			code  int
		}{{"", http.StatusUnauthorized}, {"no-token-of-the-cluster", http.StatusUnauthorized}, {token, http.StatusForbidden}} {
			code, body := ask(t, client, path, c.token)
			require.Equal(t, c.code, code, body)
			require.NotContains(t, body, "kubevirt_vmi")
		}
	}

	reader := w.tokenFor(t, "reader")
	_, err := w.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "hypervisor-exporter-scraper"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: plain, Name: "reader"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.RbacV1().ClusterRoleBindings().Delete(context.Background(), "e2e-reader", metav1.DeleteOptions{}))
	})
	for name, token := range map[string]string{"a scraper of one's own": reader, "Prometheus": w.prometheusToken(t)} {
		code, body := ask(t, client, url, token)
		require.Equal(t, http.StatusOK, code, "%s: %s", name, body)
		require.Contains(t, body, `kubevirt_vmi_hypervisor_info{`)
		code, _ = ask(t, client, strings.Replace(url, "/pods/", "/pods/00000000", 1), token)
		require.Equal(t, http.StatusNotFound, code)
	}
}

// tokenFor makes a ServiceAccount without any right and gives a token of it.
func (w *world) tokenFor(t *testing.T, name string) string {
	t.Helper()
	accounts := w.CoreV1().ServiceAccounts(plain)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, accounts.Delete(context.Background(), name, metav1.DeleteOptions{})) })
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}
