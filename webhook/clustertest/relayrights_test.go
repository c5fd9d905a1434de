package clustertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The relay may ask who a user is and what they may do, and read nothing.
func TestRelayMayDoNoMore(t *testing.T) {
	install(t, ".")
	client := server.As(t, server.Token(t, relayNamespace, "hypervisor-exporter-relay"))
	eventually(t, func() bool { // the authorizer learns of bindings a moment later
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}}
		_, err := client.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
		return err == nil
	})
	_, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = client.CoreV1().Secrets(relayNamespace).Get(t.Context(), "hypervisor-exporter-relay-ca", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	// The certificate process has no right to the scraper's token.
	certs := server.As(t, server.Token(t, productNamespace, "hypervisor-exporter-certs"))
	_, err = certs.CoreV1().Secrets(relayNamespace).Get(t.Context(), "hypervisor-exporter-scraper", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
}

// Prometheus' token opens the two paths that the relay asks about, and no other; the relay's own token opens none.
func TestScraperMayScrape(t *testing.T) {
	install(t, ".")
	user := func(account string) string { return "system:serviceaccount:" + relayNamespace + ":" + account }
	for _, test := range []struct {
		user, path string
		want       bool
	}{
		{user("hypervisor-exporter-scraper"), "/metrics/vmis", true},
		{user("hypervisor-exporter-scraper"), "/metrics", true},
		{user("hypervisor-exporter-scraper"), "/metrics/slis", false},
		{user("hypervisor-exporter-relay"), "/metrics/vmis", false},
		{user("default"), "/metrics/vmis", false},
	} {
		eventually(t, func() bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:                  test.user,
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: test.path, Verb: "get"},
			}}
			answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed == test.want
		}, "%v", test)
	}
}

// In the overlay the relay has neither a token nor a right, and Prometheus sends none.
func TestRelayWithoutAuthorization(t *testing.T) {
	for _, object := range render(t, "overlays/relay-without-authorization") {
		require.NotContains(t, object.GetName(), "scraper")
		require.False(t, object.GetKind() == "ClusterRoleBinding" && strings.HasSuffix(object.GetName(), "-relay"))
		if object.GetKind() == "PodMonitor" {
			endpoint := object.Object["spec"].(map[string]any)["podMetricsEndpoints"].([]any)[0]
			require.NotContains(t, endpoint, "authorization", object.GetName())
		}
	}
}
