package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

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

// Without the operator the protection is the same: what is done to the VMs' samples is equal in both. Package
// monitoring/scrape shows it to a real Prometheus.
func TestPlainScrapeConfigIsAsStrictAsThePodMonitor(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(manifests, "overlays/without-prometheus-operator/scrape-config.yaml"))
	require.NoError(t, err)
	var plain, generated scrapeConfigs
	require.NoError(t, yaml.UnmarshalStrict(content, &plain))
	require.NoError(t, yaml.Unmarshal(operatorConfig(t), &generated))
	at := slices.IndexFunc(generated.ScrapeConfigs, func(config map[string]any) bool {
		return strings.Contains(config["job_name"].(string), "/hypervisor-exporter-vms/")
	})
	require.GreaterOrEqual(t, at, 0)
	theirs, ours := generated.ScrapeConfigs[at], plain.ScrapeConfigs[0]
	for _, key := range []string{
		"honor_labels", "honor_timestamps", "follow_redirects", "sample_limit", "label_limit", "label_name_length_limit",
		"label_value_length_limit", "body_size_limit", "metric_relabel_configs", "scheme",
	} {
		require.Contains(t, theirs, key)
		require.Equal(t, theirs[key], ours[key], key)
	}
	require.Equal(t, theirs["tls_config"].(map[string]any)["server_name"], ours["tls_config"].(map[string]any)["server_name"])
	require.Contains(t, theirs, "authorization")
	require.Subset(t, theirs["relabel_configs"], identity(ours["relabel_configs"].([]any)))
}

// The operator makes the same scrape configuration for a PrometheusAgent as for a Prometheus.
func TestPrometheusAgentScrapesAsPrometheusDoes(t *testing.T) {
	var server, agent scrapeConfigs
	require.NoError(t, yaml.Unmarshal(operatorConfig(t), &server))
	require.NoError(t, yaml.Unmarshal(operatorConfig(t, "agent"), &agent))
	require.Len(t, server.ScrapeConfigs, 3)
	require.Equal(t, server, agent)
}

// A Prometheus like OpenShift's for user workloads scrapes the VMs of one namespace by the PodMonitor of docs/platforms.md,
// with that namespace's name whatever a page says, and under the job that the rules for the namespace select.
func TestMonitorOfOneNamespace(t *testing.T) {
	page, err := os.ReadFile("../../docs/platforms.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "### A PodMonitor in each namespace\n")
	require.True(t, found)
	kustomization := yamlBlock.FindStringSubmatch(section)[1]
	objects, err := kustomizetest.Around(manifests, strings.ReplaceAll(kustomization, "../manifests", "MANIFESTS"))
	require.NoError(t, err)
	require.Len(t, objects, 1)
	var config scrapeConfigs
	require.NoError(t, yaml.Unmarshal(operatorConfigOf(t, objects, "user-workloads"), &config))
	require.Len(t, config.ScrapeConfigs, 1)
	scrape := config.ScrapeConfigs[0]
	require.Equal(t, []any{map[string]any{"role": "pod", "namespaces": map[string]any{"names": []any{"shop"}}}}, scrape["kubernetes_sd_configs"])
	require.Equal(t, false, scrape["honor_labels"])
	relabelings := scrape["relabel_configs"].([]any)
	require.Contains(t, relabelings, any(map[string]any{"target_label": "job", "replacement": rules.VMsJob}))
	enforced := map[string]any{"target_label": "namespace", "replacement": "shop"}
	require.Contains(t, relabelings, any(enforced))
	require.Contains(t, scrape["metric_relabel_configs"], any(enforced))
}

// operatorConfig is what the operator makes of the PodMonitors, and of the Secret and the ConfigMap that they name.
func operatorConfig(t *testing.T, arguments ...string) []byte {
	t.Helper()
	return operatorConfigOf(t, render(t, "."), arguments...)
}

func operatorConfigOf(t *testing.T, monitors []*unstructured.Unstructured, arguments ...string) []byte {
	t.Helper()
	kind := func(name string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "v1", Kind: name} }
	objects := []any{
		&corev1.ConfigMap{TypeMeta: kind("ConfigMap"), ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: relayName + "-ca"},
			Data: map[string]string{"ca.crt": string(newCA(t).CertPEM)}},
		&corev1.Secret{TypeMeta: kind("Secret"), ObjectMeta: metav1.ObjectMeta{Namespace: relayNamespace, Name: "hypervisor-exporter-scraper"},
			Data: map[string][]byte{"token": []byte("a-token")}},
	}
	for _, object := range monitors {
		if object.GetKind() == "PodMonitor" {
			objects = append(objects, object.Object)
		}
	}
	var documents bytes.Buffer
	for _, object := range objects {
		document, err := json.Marshal(object)
		require.NoError(t, err)
		fmt.Fprintf(&documents, "---\n%s\n", document)
	}
	generate := exec.Command("go", append([]string{"run", "."}, arguments...)...)
	generate.Dir, generate.Env = "operatorconfig", append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	generate.Stdin, generate.Stderr = &documents, os.Stderr
	config, err := generate.Output()
	require.NoError(t, err)
	return config
}

// identity are the rules that are word for word the PodMonitor's: who may be a target, where it is, and what it is
// called.
func identity(rules []any) []any {
	return rules[2:16]
}
