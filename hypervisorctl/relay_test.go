package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/contract"
)

// relay answers as the product's does: a page for the pods that it knows.
type relay struct {
	pages map[string]string // by the pod's uid
	// status is answered instead, to all or to the pod.
	status    int
	statusOf  string
	challenge bool
	// authority that has signed its certificate.
	authority []byte
	mu        sync.Mutex
	seen      []string // the Authorization headers
}

func (r *relay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, request.Header.Get("Authorization"))
	r.mu.Unlock()
	uid := strings.TrimSuffix(strings.TrimPrefix(request.URL.Path, "/pods/"), "/metrics")
	switch content, known := r.pages[uid]; {
	case r.status != 0 && (r.statusOf == "" || r.statusOf == uid):
		if r.challenge {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		http.Error(w, fmt.Sprintf("the pod answered with status %d", r.status), r.status)
	case !known:
		http.Error(w, "no such pod on this node, or no socket in it", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, content)
	}
}

// serveRelay makes it the relay of node-9, with a certificate that the PodMonitor's authority has signed.
func serveRelay(t *testing.T, r *relay) {
	t.Helper()
	authority, err := pki.NewCA(product.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, product.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	require.NoError(t, err)
	port := serve(t, r, &tls.Config{Certificates: []tls.Certificate{pair}})
	serveKubelet(t, "node-9", &kubelet{forward: fmt.Sprintf("127.0.0.1:%d", port)})
	relayPod(t, "node-9")
	r.authority = authority.CertPEM
	trusted(t, r.authority)
}

// relayPod makes a ready pod of the node's relay.
func relayPod(t *testing.T, node string) {
	t.Helper()
	no := false
	runningPod(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: product.RelayNamespace, Name: "relay-of-" + node, Labels: map[string]string{
			"app.kubernetes.io/name": "kubevirt-hypervisor-exporter", "app.kubernetes.io/component": "relay",
		}},
		Spec: corev1.PodSpec{
			ServiceAccountName: product.Relay, AutomountServiceAccountToken: &no, NodeName: node,
			Containers: []corev1.Container{restricted("relay", nil)},
		},
	})
}

// trusted publishes the CA as the certificate process does, in the ConfigMap that the PodMonitor names.
func trusted(t *testing.T, authority []byte) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"ca.crt": string(authority)}})
	require.NoError(t, err)
	_, err = server.Client.CoreV1().ConfigMaps(product.RelayNamespace).
		Patch(t.Context(), "hypervisor-exporter-relay-ca", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

// scraper is the token of a ServiceAccount that has the rights of rbac.yaml for the relay, and no other.
func scraper(t *testing.T, namespace string) string {
	t.Helper()
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: "default"}
	require.NoError(t, bind(t, namespace, "ClusterRole", "hypervisorctl", subject))
	require.NoError(t, bind(t, product.RelayNamespace, "Role", "hypervisorctl-relay", subject))
	awaitRight(t, "system:serviceaccount:"+namespace+":default", nil, authorizationv1.ResourceAttributes{
		Namespace: product.RelayNamespace, Verb: "list", Resource: "pods",
	})
	return server.Token(t, namespace, "default")
}

// claims are what a token says about itself.
type claims struct {
	Audience []string `json:"aud"`
	Subject  string   `json:"sub"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

func claimsOf(t *testing.T, authorization string) claims {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	require.Len(t, parts, 3, authorization)
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var c claims
	require.NoError(t, json.Unmarshal(content, &c))
	return c
}

func TestRelay(t *testing.T) {
	install(t)
	namespace := server.Namespace(t, "relayed", labelled())
	pod := machine{namespace: namespace, name: "web", fixture: "masq", node: "node-9", socket: true}.create(t)
	gone := machine{namespace: namespace, name: "gone", fixture: "masq", node: "node-9", socket: true}.create(t)
	machine{namespace: namespace, name: "elsewhere", fixture: "masq", node: "node-8", socket: true}.create(t)
	r := &relay{pages: map[string]string{string(pod.UID): page(namespace, "web", "kvm")}}
	serveRelay(t, r)
	token := scraper(t, namespace)
	list := func(further ...string) string {
		args := append([]string{"list", "-n", namespace, "-o", "yaml"}, further...)
		got := call(t, kubeconfig(t, server.Config, token), args...)
		require.Zero(t, got.code, got.err)
		return got.out
	}
	t.Run("nothing of the tunnels is left", func(t *testing.T) {
		list() // client-go keeps its connections to the API server for the next call
		before := goleak.IgnoreCurrent()
		list()
		goleak.VerifyNone(t, before,
			goleak.IgnoreAnyFunction("net/http.(*conn).serve"), // kubelet and relay of this test
			// The library closes cleanly: it waits for the other side to close its streams and then ends.
			goleak.IgnoreAnyFunction("github.com/moby/spdystream.(*Connection).shutdown"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
	})
	t.Run("with a token for the relay alone", func(t *testing.T) {
		r.seen = nil
		out := list()
		require.Contains(t, out, "source: relay\n  type: kvm")
		require.Contains(t, out, "it answered 404: no such pod on this node")
		require.Contains(t, out, "no relay runs on node node-8")
		require.Len(t, r.seen, 2)
		for _, seen := range r.seen {
			require.NotContains(t, seen, token, "the user's own token")
			c := claimsOf(t, seen)
			require.Equal(t, []string{contract.RelayAudience}, c.Audience)
			require.Equal(t, "system:serviceaccount:"+product.RelayNamespace+":"+product.Scraper, c.Subject)
			require.EqualValues(t, 600, c.Expires-c.Issued)
		}
		config := rest.AnonymousClientConfig(server.Config)
		config.BearerToken = strings.TrimPrefix(r.seen[0], "Bearer ")
		_, err := kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
		require.True(t, apierrors.IsUnauthorized(err), "%v", err)
	})
	t.Run("a relay of an earlier release", func(t *testing.T) {
		r.status, r.challenge = http.StatusUnauthorized, true
		defer func() { r.status, r.challenge = 0, false }()
		got := call(t, kubeconfig(t, server.Config, token), "check", "-n", namespace)
		require.Contains(t, got.out, "warn  whether 2 VMs are measured was not checked: relay: the relay does not accept the token's audience hypervisor-exporter-relay; upgrade it to the release of this hypervisorctl")
	})
	// Relays of earlier releases pass a pod's own status on.
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
		t.Run(fmt.Sprintf("a pod answers %d", status), func(t *testing.T) {
			r.status, r.statusOf = status, string(gone.UID)
			defer func() { r.status, r.statusOf = 0, "" }()
			for range 5 { // in whichever order they are asked
				out := list()
				require.Contains(t, out, fmt.Sprintf("it answered %d: the pod answered with status %d", status, status))
				require.Contains(t, out, "source: relay\n  type: kvm")
			}
		})
	}
	t.Run("check counts those that are measured", func(t *testing.T) {
		got := call(t, kubeconfig(t, server.Config, token), "check", "-n", namespace)
		require.Equal(t, 2, got.code)
		require.Contains(t, got.out, "ok    1 of 3 VMs are measured (asked: relay)")
		require.Regexp(t, `fail  1 VM is not measured although the sidecar runs: relay: it answered 404: .*\n +`+namespace+`/gone`, got.out)
		require.Regexp(t, `fail  1 VM is not measured although the sidecar runs: relay: no relay runs on node node-8\n +`+namespace+`/elsewhere`, got.out)
	})
	t.Run("a note says why, beside a table", func(t *testing.T) {
		got := call(t, kubeconfig(t, server.Config, token), "list", "-n", namespace, "-l", "vm=gone")
		require.Contains(t, got.out, "not_found_out")
		require.Equal(t, "note: the type of 1 VM was not found out: relay: it answered 404: no such pod on this node, or no socket in it\n", got.err)
	})
	t.Run("no token of another account", func(t *testing.T) {
		for account, want := range map[string]bool{product.Scraper: true, product.Relay: false, "default": false, "": false} {
			answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + namespace + ":default",
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: product.RelayNamespace, Verb: "create", Resource: "serviceaccounts", Subresource: "token", Name: account,
				},
			}}, metav1.CreateOptions{})
			require.NoError(t, err)
			require.Equal(t, want, answer.Status.Allowed, account)
		}
	})
	t.Run("without the right to a token", func(t *testing.T) {
		subject := "halfway-" + namespace
		require.NoError(t, grant(t, namespace, subject, []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "get", "list"))
		require.NoError(t, grant(t, product.RelayNamespace, subject, []string{""}, []string{"pods/portforward"}, "create"))
		require.NoError(t, grant(t, product.RelayNamespace, subject, []string{"", "monitoring.coreos.com"}, []string{"pods", "configmaps", "podmonitors"}, "list", "get"))
		got := call(t, administrator(t), append([]string{"list", "-n", namespace}, as(subject, "system:authenticated")...)...)
		require.Zero(t, got.code)
		require.Contains(t, got.out, "not_asked")
		require.Contains(t, got.err, "note: no types: the relay cannot be asked: you may not create serviceaccounts/hypervisor-exporter-scraper --subresource=token in the namespace hypervisor-exporter-relay (try: kubectl auth can-i create serviceaccounts/hypervisor-exporter-scraper --subresource=token -n hypervisor-exporter-relay); an administrator gives it with the Role hypervisorctl-relay of hypervisorctl/rbac.yaml")
	})
	t.Run("the CA from a file", func(t *testing.T) {
		authority := filepath.Join(t.TempDir(), "ca.crt")
		require.NoError(t, os.WriteFile(authority, r.authority, 0o600))
		trusted(t, nil)
		require.Contains(t, list(), "reason: not_asked")
		require.Contains(t, list("--relay-ca-file="+authority), "source: relay\n  type: kvm")
		trusted(t, r.authority)
	})
	t.Run("one that the PodMonitor's CA has not signed gets no token", func(t *testing.T) {
		other, err := pki.NewCA(product.RelayServerName, time.Now(), time.Hour)
		require.NoError(t, err)
		trusted(t, other.CertPEM)
		r.seen = nil
		require.Contains(t, list(), "certificate signed by unknown authority")
		require.Empty(t, r.seen)
	})
}
