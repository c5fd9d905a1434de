package clustertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/webhook/certs/pki"
)

const (
	relayServerName = "hypervisor-exporter-relay.hypervisor-exporter-relay.svc"
	scraperToken    = "the-scrapers-token"
)

// The VMs' PodMonitor by the operator itself, in a real Prometheus that discovers pods in the real API server: each VM
// is one target, at its node's relay, by its uid, with the token and over TLS; on nodes of both families.
func TestPodMonitorGoesThroughTheRelay(t *testing.T) {
	namespace, port := server.Namespace(t, "relayed", nil), freePort(t)
	relay := newRelay(t)
	want := map[string]string{} // instance by pod
	for node, instance := range map[string]string{"127.0.94.78": "127.0.94.78:9478", "::1": "[::1]:9478"} {
		relay.serveAt(t, instance)
		pod := targetPod(t, namespace, port)
		addPort(t, pod, port)
		stored := createTarget(t, pod, "192.0.2.7", node)
		relay.pages["/pods/"+string(stored.GetUID())+"/metrics"] = fmt.Sprintf(honest, namespace) + forged
		want[stored.GetName()] = instance
	}
	p := startPrometheus(t, discoverPods(t, operatorConfig(t, ".", relay.secrets()...)))

	var series []map[string]string
	require.Eventually(t, func() bool {
		series = p.query(`kubevirt_vmi_hypervisor_info{hypervisor_type="kvm"}`)
		return len(series) == len(want)
	}, 30*time.Second, 200*time.Millisecond, "one series a VM")
	for _, labels := range series {
		instance := want[labels["pod"]]
		require.Equal(t, map[string]string{
			"__name__":        "kubevirt_vmi_hypervisor_info",
			"hypervisor_type": "kvm",
			"namespace":       namespace,
			"name":            "masq",
			"node":            "node-1",
			"pod":             labels["pod"],
			"container":       "hypervisor-exporter",
			"endpoint":        "hv-metrics",
			"job":             "hypervisor-exporter/hypervisor-exporter-vms",
			"instance":        instance,
		}, labels)
	}
	targets := 0
	for _, one := range p.targets() {
		if one.Labels["namespace"] == namespace {
			targets++
			require.Equal(t, "up", one.Health, one.LastError)
		}
	}
	require.Equal(t, len(want), targets, "another container's port of the name is no target")
	require.Empty(t, p.query(`{namespace="victim"}`))
	require.Empty(t, p.query("ALERTS"))
}

// fakeRelay serves pages by path to whoever has the token.
type fakeRelay struct {
	authority *pki.Pair
	leaf      *pki.Pair
	pages     map[string]string
}

func newRelay(t *testing.T) *fakeRelay {
	t.Helper()
	authority, err := pki.NewAuthority(relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	return &fakeRelay{authority, leaf, map[string]string{}}
}

// secrets are those that the PodMonitors name.
func (r *fakeRelay) secrets() []*corev1.Secret {
	kind := metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	return []*corev1.Secret{
		{TypeMeta: kind, ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-relay-tls"},
			Data: map[string][]byte{"ca.crt": pki.Bundle{r.authority.Certificate}.PEM()}},
		{TypeMeta: kind, ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-scraper"},
			Data: map[string][]byte{"token": []byte(scraperToken)}},
	}
}

func (r *fakeRelay) serveAt(t *testing.T, address string) {
	t.Helper()
	certificate, err := tls.X509KeyPair(r.leaf.CertPEM, r.leaf.KeyPEM)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Authorization") != "Bearer "+scraperToken {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		if content, found := r.pages[request.URL.Path]; found {
			page(content)(w, request)
			return
		}
		http.NotFound(w, request)
	}))
	require.NoError(t, web.Listener.Close())
	web.Listener, web.TLS = listener, &tls.Config{Certificates: []tls.Certificate{certificate}}
	web.StartTLS()
	t.Cleanup(web.Close)
}

// addPort gives the pod's first container a port of the sidecar's name.
func addPort(t *testing.T, pod *unstructured.Unstructured, port int) {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "containers")
	require.NoError(t, err)
	containers[0].(map[string]any)["ports"] = []any{map[string]any{"name": "hv-metrics", "containerPort": int64(port)}}
	require.NoError(t, unstructured.SetNestedSlice(pod.Object, containers, "spec", "containers"))
}

// With the relay and without, the VMs' samples are held to the same limits.
func TestBothPodMonitorsAreAsStrict(t *testing.T) {
	relayed := find(t, render(t, "."), "PodMonitor", "hypervisor-exporter-vms").Object["spec"].(map[string]any)
	direct := find(t, render(t, "overlays/direct"), "PodMonitor", "hypervisor-exporter-vms").Object["spec"].(map[string]any)
	one := relayed["podMetricsEndpoints"].([]any)[0].(map[string]any)
	other := direct["podMetricsEndpoints"].([]any)[0].(map[string]any)
	require.Subset(t, one["relabelings"], other["relabelings"])
	for _, key := range []string{"scheme", "tlsConfig", "authorization", "relabelings"} {
		delete(one, key)
		delete(other, key)
	}
	require.Equal(t, direct, relayed)
}

// The certificate process makes the relay's certificate as well, and Prometheus' authority beside it.
func TestRelayGetsACertificate(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t))
	require.Eventually(t, func() bool {
		secret, err := server.Client.CoreV1().Secrets(relayNamespace).Get(context.Background(), "hypervisor-exporter-relay-tls", metav1.GetOptions{})
		if err != nil || len(secret.Data["tls.crt"]) == 0 {
			return false
		}
		pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		roots, err := pki.ParseBundle(secret.Data["ca.crt"])
		require.NoError(t, err)
		return len(roots) == 1 && roots.Verify(leaf, relayServerName, time.Now()) == nil
	}, 30*time.Second, 100*time.Millisecond)
}

// The relay may ask who somebody is and what they may, and read nothing.
func TestRelayMayDoNoMore(t *testing.T) {
	install(t, ".")
	client := server.As(t, server.Token(t, relayNamespace, "hypervisor-exporter-relay"))
	require.Eventually(t, func() bool { // the authorizer learns of bindings a moment later
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}}
		_, err := client.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	_, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = client.CoreV1().Secrets(relayNamespace).Get(t.Context(), "hypervisor-exporter-relay-ca", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	// The certificate process has no business with the scraper's token.
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
		require.Eventually(t, func() bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:                  test.user,
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: test.path, Verb: "get"},
			}}
			answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed == test.want
		}, 20*time.Second, 50*time.Millisecond, "%v", test)
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

// Authority and certificate are replaced, and at every moment what Prometheus trusts verifies what the relay serves.
func TestRelayRotationLeavesNoGap(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t), "--ca-lifetime=3m15s", "--leaf-lifetime=3m15s", "--relay-settle=3s")
	var first *x509.Certificate
	overlapped := false
	require.Eventually(t, func() bool {
		secret, err := server.Client.CoreV1().Secrets(relayNamespace).Get(context.Background(), "hypervisor-exporter-relay-tls", metav1.GetOptions{})
		if err != nil || len(secret.Data["tls.crt"]) == 0 {
			return false
		}
		served, err := pki.ParseBundle(secret.Data["tls.crt"])
		require.NoError(t, err)
		trusted, err := pki.ParseBundle(secret.Data["ca.crt"])
		require.NoError(t, err)
		require.NoError(t, trusted.Verify(served[0], relayServerName, time.Now()))
		if first == nil {
			first = trusted[0]
		}
		overlapped = overlapped || len(trusted) > 1
		return len(trusted) == 1 && !trusted[0].Equal(first)
	}, 3*time.Minute, 100*time.Millisecond, "the authority was replaced and the old one is no longer trusted")
	require.True(t, overlapped, "old and new are trusted together for a while")
}
