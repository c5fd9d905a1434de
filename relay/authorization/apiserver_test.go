package authorization_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/relay/authorization"
)

const right = "/metrics/vmis"

var server *apiservertest.Server

func TestMain(m *testing.M) {
	os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s }))
}

// account makes a service account, gives it the ClusterRole unless that is "", and
// returns a token of its.
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

// scraperRole is the right to scrape VMs and nothing else.
func scraperRole(t *testing.T) string {
	t.Helper()
	role, err := server.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "scraper-"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{right}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return role.Name
}

// mounted is a service account as the kubelet mounts it.
func mounted(t *testing.T, token string) authorization.APIServer {
	t.Helper()
	dir := t.TempDir()
	at := authorization.APIServer{URL: server.Config.Host, CAFile: filepath.Join(dir, "ca.crt"), TokenFile: filepath.Join(dir, "token")}
	require.NoError(t, os.WriteFile(at.CAFile, server.Config.CAData, 0o600))
	require.NoError(t, os.WriteFile(at.TokenFile, []byte(token), 0o600))
	return at
}

// eventually asks until RBAC, which the API server learns of by a watch, is as wanted.
func eventually(t *testing.T, client *authorization.Client, token, path string, want authorization.Decision) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assertT) {
		decision, err := client.Review(context.Background(), token, path)
		require.NoError(c, err)
		require.Equal(c, want.String(), decision.String())
	}, 15*time.Second, 20*time.Millisecond)
}

func TestAgainstARealAPIServer(t *testing.T) {
	namespace := server.Namespace(t, "relay", nil)
	at := mounted(t, account(t, namespace, "relay", "system:auth-delegator"))
	scraper := account(t, namespace, "prometheus", scraperRole(t))
	stranger := account(t, namespace, "stranger", "")
	client := authorization.NewClient(at)
	defer client.Close()

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
		require.ErrorContains(t, err, "system:auth-delegator")
		require.Equal(t, authorization.Unavailable, decision, "our own trouble is not the client's")
		require.NoError(t, os.WriteFile(at.TokenFile, good, 0o600))
		eventually(t, client, stranger, right, authorization.Forbidden)
	})
	t.Run("without the right to ask", func(t *testing.T) {
		powerless := authorization.NewClient(mounted(t, stranger))
		defer powerless.Close()
		_, err := powerless.Review(t.Context(), stranger, right)
		require.ErrorContains(t, err, "system:auth-delegator")
	})
	t.Run("an API server of another authority", func(t *testing.T) {
		other := mounted(t, stranger)
		require.NoError(t, os.WriteFile(other.CAFile, foreignAuthority(t), 0o600))
		deceived := authorization.NewClient(other)
		defer deceived.Close()
		_, err := deceived.Review(t.Context(), stranger, right)
		require.ErrorContains(t, err, "certificate")
	})
	t.Run("no file yet", func(t *testing.T) {
		missing := mounted(t, stranger)
		require.NoError(t, os.Remove(missing.CAFile))
		early := authorization.NewClient(missing)
		defer early.Close()
		_, err := early.Review(t.Context(), stranger, right)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// TestAudience: a token for the relay alone is good for the relay, with the right, and for nothing at the API server. One for
// somebody else is good for neither.
func TestAudience(t *testing.T) {
	namespace := server.Namespace(t, "audience", nil)
	client := authorization.NewClient(mounted(t, account(t, namespace, "relay", "system:auth-delegator")))
	defer client.Close()
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
	t.Run("a token with a foreign signature", func(t *testing.T) {
		token := tokenFor(t, namespace, "may", []string{ours})
		eventually(t, client, token[:len(token)-8]+"AAAAAAAA", right, authorization.Unauthenticated)
	})
}

// TestTokenOfASecret: what Prometheus sends names no audience, and is taken as ever.
func TestTokenOfASecret(t *testing.T) {
	namespace := server.Namespace(t, "secret", nil)
	client := authorization.NewClient(mounted(t, account(t, namespace, "relay", "system:auth-delegator")))
	defer client.Close()
	account(t, namespace, "prometheus", scraperRole(t))
	eventually(t, client, server.SecretToken(t, namespace, "prometheus"), right, authorization.Allowed)
}

func tokenFor(t *testing.T, namespace, account string, audiences []string) string {
	t.Helper()
	request, err := server.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}

// apiServerAudience is the API server's own.
func apiServerAudience(t *testing.T) string {
	t.Helper()
	review, err := server.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: account(t, server.Namespace(t, "api", nil), "any", "")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Len(t, review.Status.Audiences, 1)
	return review.Status.Audiences[0]
}

// TestAPIServerGoes: who is known goes on, who is not gets 503.
func TestAPIServerGoes(t *testing.T) {
	mortal, err := apiservertest.Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	defer mortal.Stop()
	dir := t.TempDir()
	at := authorization.APIServer{URL: mortal.Config.Host, CAFile: filepath.Join(dir, "ca.crt"), TokenFile: filepath.Join(dir, "token")}
	require.NoError(t, os.WriteFile(at.CAFile, mortal.Config.CAData, 0o600))
	require.NoError(t, os.WriteFile(at.TokenFile, []byte(mortal.Config.BearerToken), 0o600))
	client := authorization.NewClient(at)
	defer client.Close()
	now := time.Now()
	cache := authorization.NewCache(client, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	decide := func(token string, want authorization.Decision, origin authorization.Origin) {
		t.Helper()
		decision, from := cache.Decide(t.Context(), "10.0.0.1", token, right)
		require.Equal(t, want.String(), decision.String())
		require.Equal(t, origin.String(), from.String())
	}
	admin := mortal.Config.BearerToken
	decide(admin, authorization.Allowed, authorization.Asked)
	decide("made-up", authorization.Unauthenticated, authorization.Asked)
	mortal.Stop()
	decide(admin, authorization.Allowed, authorization.Cached)
	decide("made-up", authorization.Unauthenticated, authorization.Cached)
	now = now.Add(5 * time.Minute)
	decide(admin, authorization.Allowed, authorization.Stale)
	decide("made-up", authorization.Unavailable, authorization.Asked)
	decide("another", authorization.Unavailable, authorization.Asked)
}

// TestReviewsAreKubernetes: our few fields are those of k8s.io/api.
func TestReviewsAreKubernetes(t *testing.T) {
	authorization.CompareReviews(t, &authenticationv1.TokenReview{}, &authorizationv1.SubjectAccessReview{})
}
