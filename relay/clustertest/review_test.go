// Package clustertest tests what the relay asks against a real kube-apiserver.
package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/relay/authorization"
)

const (
	right     = "/metrics/vmis"
	delegator = "system:auth-delegator"
)

var server *apiservertest.Server

func TestMain(m *testing.M) {
	os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s }))
}

// account creates a service account, binds it to the ClusterRole unless that is "", and
// returns a token of it.
func account(t *testing.T, namespace, name, role string) string {
	t.Helper()
	_, err := server.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	if role != "" {
		_, err = server.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	return server.Token(t, namespace, name)
}

// scraperRole creates a ClusterRole with the right to scrape VMs and nothing else.
func scraperRole(t *testing.T) string {
	t.Helper()
	role, err := server.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "scraper-"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{right}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return role.Name
}

// mounted returns a service account's folder as the kubelet mounts it.
func mounted(t *testing.T, of *apiservertest.Server, token string) authorization.APIServer {
	t.Helper()
	dir := t.TempDir()
	at := authorization.APIServer{URL: of.Config.Host, CAFile: filepath.Join(dir, "ca.crt"), TokenFile: filepath.Join(dir, "token")}
	require.NoError(t, os.WriteFile(at.CAFile, of.Config.CAData, 0o600))
	require.NoError(t, os.WriteFile(at.TokenFile, []byte(token), 0o600))
	return at
}

func newClient(t *testing.T, at authorization.APIServer) *authorization.Client {
	client := authorization.NewClient(at)
	t.Cleanup(client.Close)
	return client
}

// eventually asks until the decision is as wanted: the API server learns of RBAC objects by a watch.
func eventually(t *testing.T, client *authorization.Client, token, path string, want authorization.Decision) {
	t.Helper()
	testkit.Eventually(t, func() error {
		decision, err := client.Review(t.Context(), token, path)
		if err == nil && decision != want {
			err = fmt.Errorf("%s, want %s", decision, want)
		}
		return err
	})
}

func TestAgainstARealAPIServer(t *testing.T) {
	namespace := server.Namespace(t, "relay", nil)
	at := mounted(t, server, account(t, namespace, "relay", delegator))
	scraper := account(t, namespace, "prometheus", scraperRole(t))
	stranger := account(t, namespace, "stranger", "")
	client := newClient(t, at)

	eventually(t, client, scraper, right, authorization.Allowed)
	eventually(t, client, scraper, "/metrics", authorization.Forbidden)
	eventually(t, client, stranger, right, authorization.Forbidden)
	eventually(t, client, "made-up", right, authorization.Unauthenticated)

	t.Run("a token of a deleted account", func(t *testing.T) {
		require.NoError(t, server.Client.CoreV1().ServiceAccounts(namespace).Delete(t.Context(), "prometheus", metav1.DeleteOptions{}))
		eventually(t, client, scraper, right, authorization.Unauthenticated)
	})
	t.Run("our own token is read again", func(t *testing.T) {
		good, err := os.ReadFile(at.TokenFile)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at.TokenFile, []byte("expired"), 0o600))
		decision, err := client.Review(t.Context(), stranger, right)
		require.ErrorContains(t, err, delegator)
		require.Equal(t, authorization.Unavailable, decision, "our own failure is not the client's")
		require.NoError(t, os.WriteFile(at.TokenFile, good, 0o600))
		eventually(t, client, stranger, right, authorization.Forbidden)
	})
	foreign, err := pki.NewCA("foreign", time.Now(), time.Hour)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change  func(at authorization.APIServer) error
		message string
	}{
		"without the right to ask": {func(authorization.APIServer) error { return nil }, delegator},
		"another CA":               {func(at authorization.APIServer) error { return os.WriteFile(at.CAFile, foreign.CertPEM, 0o600) }, "certificate"},
		"no file yet":              {func(at authorization.APIServer) error { return os.Remove(at.CAFile) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			at := mounted(t, server, stranger)
			require.NoError(t, c.change(at))
			decision, err := newClient(t, at).Review(t.Context(), stranger, right)
			require.ErrorContains(t, err, c.message)
			require.Equal(t, authorization.Unavailable, decision)
		})
	}
}

// TestAudience: a token for the relay alone is good for the relay, with the right, and for nothing at the API server. One for
// another audience is good for neither.
func TestAudience(t *testing.T) {
	namespace := server.Namespace(t, "audience", nil)
	client := newClient(t, mounted(t, server, account(t, namespace, "relay", delegator)))
	account(t, namespace, "may", scraperRole(t))
	account(t, namespace, "may-not", "")
	ours, api := contract.RelayAudience, apiServerAudience(t)
	for _, c := range []struct {
		account   string
		audiences []string
		want      authorization.Decision
		api       bool
	}{
		{"may", []string{ours}, authorization.Allowed, false},
		{"may-not", []string{ours}, authorization.Forbidden, false},
		{"may", []string{api}, authorization.Allowed, true},
		{"may", []string{api, ours}, authorization.Allowed, true},
		{"may", []string{"vault"}, authorization.Unauthenticated, false},
	} {
		token := tokenFor(t, namespace, c.account, c.audiences)
		eventually(t, client, token, right, c.want)
		_, err := server.As(t, token).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		require.Equal(t, !c.api, apierrors.IsUnauthorized(err), "%+v at the API server: %v", c, err)
		require.Equal(t, c.api, err == nil, "%+v at the API server: %v", c, err)
	}
	eventually(t, client, server.SecretToken(t, namespace, "may"), right, authorization.Allowed) // what Prometheus sends names no audience
	forged := tokenFor(t, namespace, "may", []string{ours})
	eventually(t, client, forged[:len(forged)-8]+"AAAAAAAA", right, authorization.Unauthenticated)
}

func tokenFor(t *testing.T, namespace, account string, audiences []string) string {
	t.Helper()
	request, err := server.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}

// apiServerAudience returns the API server's own.
func apiServerAudience(t *testing.T) string {
	t.Helper()
	review, err := server.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: account(t, server.Namespace(t, "api", nil), "any", "")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Len(t, review.Status.Audiences, 1)
	return review.Status.Audiences[0]
}
