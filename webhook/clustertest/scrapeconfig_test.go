package clustertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

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
