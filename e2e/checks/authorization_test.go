package checks

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/e2e/cluster"
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
	narrow := w.tokenFor(t, "reader", "hypervisor-exporter-relay")
	for name, token := range map[string]string{"a scraper of one's own": reader, "the same for relays alone": narrow, "Prometheus": w.prometheusToken(t)} {
		code, body := ask(t, client, url, token)
		require.Equal(t, http.StatusOK, code, "%s: %s", name, body)
		require.Contains(t, body, `kubevirt_vmi_hypervisor_info{`)
		code, _ = ask(t, client, strings.Replace(url, "/pods/", "/pods/00000000", 1), token)
		require.Equal(t, http.StatusNotFound, code)
	}
	code, body := ask(t, client, url, w.tokenFor(t, "reader", "another-server"))
	require.Equal(t, http.StatusUnauthorized, code, body)
	config := rest.AnonymousClientConfig(w.Config)
	config.BearerToken = narrow
	stolen, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = stolen.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.True(t, apierrors.IsUnauthorized(err), "the API server takes no token that is for relays: %v", err)
}

// The relay has given up what it does not use, and the mount of the kubelet's folder is read-only as far as the node can.
func TestRelayIsConfined(t *testing.T) {
	t.Parallel()
	w := connect(t)
	relay, err := w.relayPod(t.Context())
	require.NoError(t, err)
	log, err := w.CoreV1().Pods(cluster.Relay).GetLogs(relay.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(log), "confined by Landlock"), "%s", log)
	mounts := relay.Spec.Containers[0].VolumeMounts
	i := slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/var/lib/kubelet/pods" })
	require.True(t, mounts[i].ReadOnly)
	require.NotNil(t, mounts[i].RecursiveReadOnly)
	require.Equal(t, corev1.RecursiveReadOnlyIfPossible, *mounts[i].RecursiveReadOnly)
}

// tokenFor gives a token of a ServiceAccount, which it makes without any right where there is none. Without audiences it
// is the API server's.
func (w *world) tokenFor(t *testing.T, name string, audiences ...string) string {
	t.Helper()
	accounts := w.CoreV1().ServiceAccounts(plain)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, accounts.Delete(context.Background(), name, metav1.DeleteOptions{})) })
	}
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}
