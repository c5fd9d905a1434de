package clustertest

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

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
	eventually(t, func() bool {
		series = p.query(`kubevirt_vmi_hypervisor_info{hypervisor_type="kvm"}`)
		return len(series) == len(want)
	}, "one series a VM")
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

// fakeRelay serves pages by path to anyone who has the token.
type fakeRelay struct {
	ca    *pki.Pair
	leaf  *pki.Pair
	pages map[string]string
}

func newRelay(t *testing.T) *fakeRelay {
	t.Helper()
	ca, err := pki.NewCA(relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, relayServerName, time.Now(), time.Hour)
	require.NoError(t, err)
	return &fakeRelay{ca, leaf, map[string]string{}}
}

// named are the objects that the PodMonitors name.
func (r *fakeRelay) named() []any {
	kind := func(name string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "v1", Kind: name} }
	return []any{
		&corev1.ConfigMap{TypeMeta: kind("ConfigMap"), ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-relay-ca"},
			Data: map[string]string{"ca.crt": string(pki.Bundle{r.ca.Certificate}.PEM())}},
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

type scrapeConfigs struct {
	ScrapeConfigs []map[string]any `json:"scrape_configs"`
}

// Without the operator the protection is the same: what is done to the VMs' samples is equal in both.
func TestPlainScrapeConfigIsAsStrictAsThePodMonitor(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(manifests, "overlays/without-prometheus-operator/scrape-config.yaml"))
	require.NoError(t, err)
	var plain, generated scrapeConfigs
	require.NoError(t, yaml.UnmarshalStrict(content, &plain))
	require.NoError(t, yaml.Unmarshal(operatorConfig(t, ".", newRelay(t).named()...), &generated))
	theirs, ours := byJob(t, generated, "relay", "vms"), plain.ScrapeConfigs[0]
	for _, key := range []string{
		"honor_labels", "honor_timestamps", "follow_redirects", "sample_limit", "label_limit", "label_name_length_limit",
		"label_value_length_limit", "body_size_limit", "metric_relabel_configs", "scheme",
	} {
		require.Contains(t, theirs, key)
		require.Equal(t, theirs[key], ours[key], key)
	}
	require.Equal(t, theirs["tls_config"].(map[string]any)["server_name"], ours["tls_config"].(map[string]any)["server_name"])
	require.Subset(t, theirs["relabel_configs"], identity(ours["relabel_configs"].([]any)))
}

// byJob is the job that the operator made of a PodMonitor with these in its name.
func byJob(t *testing.T, configs scrapeConfigs, parts ...string) map[string]any {
	t.Helper()
	for _, config := range configs.ScrapeConfigs {
		name := config["job_name"].(string)
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(name, part) }) {
			return config
		}
	}
	require.Failf(t, "no job", "%v", parts)
	return nil
}

// identity are the rules that are word for word the PodMonitor's: who may be a target, where it is, and what it is
// called.
func identity(rules []any) []any {
	return rules[2:16]
}
