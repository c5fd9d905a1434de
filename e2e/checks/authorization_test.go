package checks

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// The relay gives pages to clients that have the right which the manifests name, and to no others.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "authorization"}
	f.start(v)
	f.awaitTarget(v, "up")
	client, url := f.relayClient(), page(f.pod(v))
	own := strings.Split(url, "/pods/")[0] + "/metrics"
	f.impose(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: e2e-reader},
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: hypervisor-exporter-scraper},
		subjects: [{kind: ServiceAccount, namespace: %s, name: reader}]}`, plain)
	narrow := f.tokenFor("reader", "hypervisor-exporter-relay")
	stranger := f.tokenFor("stranger")
	missing := strings.Replace(url, "/pods/", "/pods/00000000", 1)
	for _, c := range []struct {
		who, token, url string
		code            int
	}{
		{"no token", "", url, http.StatusUnauthorized},
		{"no token", "", own, http.StatusUnauthorized},
		{"a token of another cluster", "not-of-this-cluster", url, http.StatusUnauthorized},
		{"a token of another cluster", "not-of-this-cluster", own, http.StatusUnauthorized},
		{"a token for another server", f.tokenFor("reader", "another-server"), url, http.StatusUnauthorized},
		{"an account without the right", stranger, url, http.StatusForbidden},
		{"an account without the right", stranger, own, http.StatusForbidden},
		{"a scraper of the user's", f.tokenFor("reader"), url, http.StatusOK},
		{"a token for relays only", narrow, url, http.StatusOK},
		{"Prometheus", f.prometheusToken(), url, http.StatusOK},
		{"Prometheus, of a pod that is not there", f.prometheusToken(), missing, http.StatusNotFound},
	} {
		code, body := get(t, client, c.url, c.token)
		require.Equal(t, c.code, code, "%s at %s: %s", c.who, c.url, body)
		require.Equal(t, code == http.StatusOK, strings.Contains(body, `kubevirt_vmi_hypervisor_info{`), "%s: %s", c.who, body)
	}
	config := rest.AnonymousClientConfig(f.Config)
	config.BearerToken = narrow
	stolen, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = stolen.AuthenticationV1().SelfSubjectReviews().Create(f.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.True(t, apierrors.IsUnauthorized(err), "the API server accepts a token that is for relays: %v", err)
}

// The relay has given up what it does not use, and the mount of the kubelet's folder is read-only as far as the node can.
func TestRelayIsConfined(t *testing.T) {
	t.Parallel()
	f := connect(t)
	relay := f.relayOn(f.node.Name)
	log, err := f.CoreV1().Pods(cluster.Relay).GetLogs(relay.Name, &corev1.PodLogOptions{}).DoRaw(f.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(log), "confined by Landlock"), "%s", log)
	mounts := relay.Spec.Containers[0].VolumeMounts
	mount := mounts[slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/var/lib/kubelet/pods" })]
	require.True(t, mount.ReadOnly)
	require.Equal(t, new(corev1.RecursiveReadOnlyIfPossible), mount.RecursiveReadOnly)
}

// tokenFor returns a token of a ServiceAccount, which it creates without any right where there is none. Without audiences
// the token is for the API server.
func (f *framework) tokenFor(name string, audiences ...string) string {
	accounts := f.CoreV1().ServiceAccounts(plain)
	_, err := accounts.Create(f.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		f.must(err)
		f.t.Cleanup(func() { f.must(accounts.Delete(f.ctx, name, metav1.DeleteOptions{})) })
	}
	request, err := accounts.CreateToken(f.ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	f.must(err)
	return request.Status.Token
}
