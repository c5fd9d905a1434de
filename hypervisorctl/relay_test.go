package main

import (
	"crypto/tls"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/webhook/certs/pki"
)

// relay answers as the product's does: a page for the pods that it knows and the token that it takes.
type relay struct {
	pages  map[string]string // by the pod's uid
	status int
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
	case r.status != 0:
		w.WriteHeader(r.status)
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
	authority, err := pki.NewAuthority(product.RelayServerName, time.Now(), time.Hour)
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

// trusted publishes the authority as the certificate process does, where the PodMonitor says that it is.
func trusted(t *testing.T, authority []byte) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"ca.crt": string(authority)}})
	require.NoError(t, err)
	_, err = server.Client.CoreV1().ConfigMaps(product.RelayNamespace).
		Patch(t.Context(), "hypervisor-exporter-relay-ca", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

// scraper is the token of a service account that has the rights of rbac.yaml for the relay, and no other.
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

func TestRelay(t *testing.T) {
	install(t)
	namespace := server.Namespace(t, "relayed", labelled())
	pod := machine{namespace: namespace, name: "web", fixture: "masq", node: "node-9", socket: true}.create(t)
	machine{namespace: namespace, name: "gone", fixture: "masq", node: "node-9", socket: true}.create(t)
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
			// The library's own farewell, which waits for the other side to close its streams and then ends.
			goleak.IgnoreAnyFunction("github.com/moby/spdystream.(*Connection).shutdown"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		r.seen = nil
	})
	t.Run("with the user's own token", func(t *testing.T) {
		out := list()
		require.Contains(t, out, "source: relay\n  type: kvm")
		require.Contains(t, out, "it answered 404: no such pod on this node")
		require.Contains(t, out, "no relay runs on node node-8")
		require.Equal(t, []string{"Bearer " + token, "Bearer " + token}, r.seen)
	})
	for status, want := range map[int]string{http.StatusForbidden: "kubectl auth can-i get /metrics/vmis", http.StatusUnauthorized: "it wants a bearer token"} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			r.status = status
			defer func() { r.status = 0 }()
			require.Contains(t, list(), want)
		})
	}
	t.Run("why is told beside a table", func(t *testing.T) {
		r.status = http.StatusForbidden
		defer func() { r.status = 0 }()
		got := call(t, kubeconfig(t, server.Config, token), "list", "-n", namespace, "-l", "vm=web")
		require.Contains(t, got.out, "not_found_out")
		require.Equal(t, "note: the type of 1 VM was not found out: relay: you may not get /metrics/vmis (try: kubectl auth can-i get /metrics/vmis)\n", got.err)
	})
	t.Run("without a token", func(t *testing.T) {
		got := call(t, kubeconfig(t, proxy(t, func(*http.Request) {}), ""), "list", "-n", namespace)
		require.Zero(t, got.code)
		require.Contains(t, got.out, "not_asked")
		require.Contains(t, got.err, "--token=$(kubectl create token hypervisor-exporter-scraper -n hypervisor-exporter-relay)")
	})
	t.Run("the authority from a file", func(t *testing.T) {
		authority := filepath.Join(t.TempDir(), "ca.crt")
		require.NoError(t, os.WriteFile(authority, r.authority, 0o600))
		trusted(t, nil)
		require.Contains(t, list(), "reason: not_asked")
		require.Contains(t, list("--relay-ca-file="+authority), "source: relay\n  type: kvm")
		trusted(t, r.authority)
	})
	t.Run("one that is not signed by the PodMonitor's authority gets no token", func(t *testing.T) {
		other, err := pki.NewAuthority(product.RelayServerName, time.Now(), time.Hour)
		require.NoError(t, err)
		trusted(t, other.CertPEM)
		r.seen = nil
		require.Contains(t, list(), "certificate signed by unknown authority")
		require.Empty(t, r.seen)
	})
}
