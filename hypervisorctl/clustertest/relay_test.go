package clustertest

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
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/contract"
)

// relay answers as the product's relay: with a page for the pods that it knows.
type relay struct {
	pages map[string]string // by the pod's uid
	// ca has signed its certificate.
	ca   []byte
	mu   sync.Mutex
	seen []string // the Authorization headers
}

func (r *relay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, request.Header.Get("Authorization"))
	r.mu.Unlock()
	uid := strings.TrimSuffix(strings.TrimPrefix(request.URL.Path, "/pods/"), "/metrics")
	switch content, known := r.pages[uid]; {
	case !known:
		http.Error(w, "no such pod on this node, or no socket in it", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, content)
	}
}

// serveRelay makes it the relay of node-9, with a certificate of the PodMonitor's CA.
func serveRelay(t *testing.T, r *relay) {
	t.Helper()
	ca, err := pki.NewCA(cluster.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, cluster.RelayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	require.NoError(t, err)
	port := serve(t, r, &tls.Config{Certificates: []tls.Certificate{pair}})
	serveKubelet(t, "node-9", &kubelet{forward: fmt.Sprintf("127.0.0.1:%d", port)})
	relayPod(t, "node-9")
	r.ca = ca.CertPEM
	trusted(t, r.ca)
}

// trusted publishes the CA as the certificate process does, in the ConfigMap that the PodMonitor names.
func trusted(t *testing.T, ca []byte) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"ca.crt": string(ca)}})
	require.NoError(t, err)
	_, err = server.Client.CoreV1().ConfigMaps(cluster.RelayNamespace).
		Patch(t.Context(), "hypervisor-exporter-relay-ca", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

// scraper is the token of a ServiceAccount that has the rights of rbac.yaml for the relay, and no other.
func scraper(t *testing.T, namespace string) string {
	t.Helper()
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: "default"}
	require.NoError(t, bind(t, namespace, "ClusterRole", "hypervisorctl", subject))
	require.NoError(t, bind(t, cluster.RelayNamespace, "Role", "hypervisorctl-relay", subject))
	awaitRight(t, "system:serviceaccount:"+namespace+":default", nil, authorizationv1.ResourceAttributes{
		Namespace: cluster.RelayNamespace, Verb: "list", Resource: "pods",
	})
	return server.Token(t, namespace, "default")
}

// claims are a token's.
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
	pod := testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-9", socket: true}.create(t)
	testVM{namespace: namespace, name: "gone", fixture: "masq", node: "node-9", socket: true}.create(t)
	testVM{namespace: namespace, name: "elsewhere", fixture: "masq", node: "node-8", socket: true}.create(t)
	r := &relay{pages: map[string]string{
		string(pod.UID): page(namespace, "web", "kvm"),
		"":              "kubevirt_node_virtualization_info{virtualization=\"hyperv\",hardware_paging=\"on\",nested=\"\"} 1\n", // its own
	}}
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
		require.Contains(t, out, "the relay answered 404: no such pod on this node")
		require.Contains(t, out, "no relay runs on node node-8")
		require.Contains(t, out, "  nodeHardwarePaging: \"on\"\n  nodeVirtualization: hyperv\n")
		require.Contains(t, out, "problems:\n  - node_is_vm\n")
		require.Len(t, r.seen, 3, "a page for each VM, and one for the node")
		for _, seen := range r.seen {
			require.NotContains(t, seen, token, "the user's own token")
			c := claimsOf(t, seen)
			require.Equal(t, []string{contract.RelayAudience}, c.Audience)
			require.Equal(t, "system:serviceaccount:"+cluster.RelayNamespace+":"+cluster.Scraper, c.Subject)
			require.EqualValues(t, 600, c.Expires-c.Issued)
		}
		config := rest.AnonymousClientConfig(server.Config)
		config.BearerToken = strings.TrimPrefix(r.seen[0], "Bearer ")
		_, err := kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
		require.True(t, apierrors.IsUnauthorized(err), "%v", err)
	})
	t.Run("no token of another account", func(t *testing.T) {
		for account, want := range map[string]bool{cluster.Scraper: true, cluster.Relay: false, "default": false, "": false} {
			answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + namespace + ":default",
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: cluster.RelayNamespace, Verb: "create", Resource: "serviceaccounts", Subresource: "token", Name: account,
				},
			}}, metav1.CreateOptions{})
			require.NoError(t, err)
			require.Equal(t, want, answer.Status.Allowed, account)
		}
	})
	t.Run("without the right to a token", func(t *testing.T) {
		subject := "halfway-" + namespace
		require.NoError(t, grant(t, namespace, subject, []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "get", "list"))
		require.NoError(t, grant(t, cluster.RelayNamespace, subject, []string{""}, []string{"pods/portforward"}, "create"))
		require.NoError(t, grant(t, cluster.RelayNamespace, subject, []string{"", "monitoring.coreos.com"}, []string{"pods", "configmaps", "podmonitors"}, "list", "get"))
		got := callAs(t, as(subject, "system:authenticated"), "list", "-n", namespace)
		require.Zero(t, got.code)
		require.Contains(t, got.out, "not_asked")
		require.Contains(t, got.err, "note: no types: the relay cannot be used: you may not create serviceaccounts/hypervisor-exporter-scraper --subresource=token in the namespace hypervisor-exporter-relay (try: kubectl auth can-i create serviceaccounts/hypervisor-exporter-scraper --subresource=token -n hypervisor-exporter-relay); an administrator can grant it with the Role hypervisorctl-relay of hypervisorctl/rbac.yaml")
	})
	t.Run("the CA from a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ca.crt")
		require.NoError(t, os.WriteFile(file, r.ca, 0o600))
		trusted(t, nil)
		require.Contains(t, list(), "reason: not_asked")
		require.Contains(t, list("--relay-ca-file="+file), "source: relay\n  type: kvm")
		trusted(t, r.ca)
	})
	t.Run("one that the PodMonitor's CA has not signed gets no token", func(t *testing.T) {
		other, err := pki.NewCA(cluster.RelayServerName, time.Now(), time.Hour)
		require.NoError(t, err)
		trusted(t, other.CertPEM)
		r.seen = nil
		require.Contains(t, list(), "certificate signed by unknown authority")
		require.Empty(t, r.seen)
	})
}
