package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/webhook/certs/pki"
)

// relay answers as the product's does: a page for the pods that it knows and the token that it takes.
type relay struct {
	pages  map[string]string // by the pod's uid
	status int
	mu     sync.Mutex
	seen   []string // the Authorization headers
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
	authority, err := pki.NewAuthority(product.Relay, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, product.Relay, time.Now(), time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	require.NoError(t, err)
	port := serve(t, r, &tls.Config{Certificates: []tls.Certificate{pair}})
	serveKubelet(t, "node-9", &kubelet{forward: fmt.Sprintf("127.0.0.1:%d", port)})
	no := false
	runningPod(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "relay-of-node-9", Labels: map[string]string{
			"app.kubernetes.io/name": "kubevirt-hypervisor-exporter", "app.kubernetes.io/component": "relay",
		}},
		Spec: corev1.PodSpec{
			ServiceAccountName: product.Webhook, AutomountServiceAccountToken: &no, NodeName: "node-9",
			Containers: []corev1.Container{restricted("relay", nil)},
		},
	})
	trusted(t, authority.CertPEM)
}

// trusted writes the authority where the PodMonitor says that it is.
func trusted(t *testing.T, authority []byte) {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": product.Namespace, "name": "hypervisor-exporter-relay-ca"},
		"data":     map[string]any{"ca.crt": string(authority)},
	})
	require.NoError(t, err)
	object := &unstructured.Unstructured{}
	require.NoError(t, object.UnmarshalJSON(content))
	require.NoError(t, server.Apply(t.Context(), object))
	monitor := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
		"metadata": map[string]any{"namespace": product.Namespace, "name": product.PodMonitor},
		"spec": map[string]any{
			"selector": map[string]any{},
			"podMetricsEndpoints": []any{map[string]any{
				"port": "hv-metrics", "scheme": "https",
				"tlsConfig": map[string]any{
					"serverName": product.Relay,
					"ca":         map[string]any{"configMap": map[string]any{"name": "hypervisor-exporter-relay-ca", "key": "ca.crt"}},
				},
			}},
		},
	}}
	require.NoError(t, server.Apply(t.Context(), monitor))
}

// scraper is the token of a service account that has the rights of rbac.yaml for the relay, and no other.
func scraper(t *testing.T, namespace string) string {
	t.Helper()
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: "default"}
	require.NoError(t, bind(t, namespace, "ClusterRole", "hypervisorctl", subject))
	require.NoError(t, bind(t, product.Namespace, "Role", "hypervisorctl", subject))
	require.NoError(t, bind(t, product.Namespace, "Role", "hypervisorctl-relay", subject))
	require.NoError(t, grant(t, product.Namespace, "system:serviceaccount:"+namespace+":default", []string{""}, []string{"pods"}, "list"))
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
	list := func() string {
		got := call(t, kubeconfig(t, server.Config, token), "list", "-n", namespace, "--source=relay", "-o", "yaml")
		require.Zero(t, got.code, got.err)
		return got.out
	}
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
	t.Run("one that is not signed by the PodMonitor's authority gets no token", func(t *testing.T) {
		other, err := pki.NewAuthority(product.Relay, time.Now(), time.Hour)
		require.NoError(t, err)
		trusted(t, other.CertPEM)
		r.seen = nil
		require.Contains(t, list(), "certificate signed by unknown authority")
		require.Empty(t, r.seen)
	})
}
