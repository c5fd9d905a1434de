package clustertest

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
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
		relay.pages["/pods/"+string(stored.GetUID())+"/metrics"] = honestPage(namespace) + forged
		want[stored.GetName()] = instance
	}
	p := startPrometheus(t, discoverPods(t, operatorConfig(t, ".", relay.named()...)))

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
	authority, err := pki.NewCA(relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(authority, relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	return &fakeRelay{authority, leaf, map[string]string{}}
}

// named are the objects that the PodMonitors name.
func (r *fakeRelay) named() []any {
	kind := func(name string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "v1", Kind: name} }
	return []any{
		&corev1.ConfigMap{TypeMeta: kind("ConfigMap"), ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-relay-ca"},
			Data: map[string]string{"ca.crt": string(pki.Bundle{r.authority.Certificate}.PEM())}},
		&corev1.Secret{TypeMeta: kind("Secret"), ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-scraper"},
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
