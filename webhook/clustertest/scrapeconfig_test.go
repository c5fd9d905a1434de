package clustertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

type scrapeConfigs struct {
	ScrapeConfigs []map[string]any `json:"scrape_configs"`
}

// Whoever goes without the operator is protected alike: what is done to the VMs' samples is the same in both.
func TestPlainScrapeConfigIsAsStrictAsThePodMonitor(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(manifests, "overlays/without-prometheus-operator/scrape-config.yaml"))
	require.NoError(t, err)
	var plain, generated scrapeConfigs
	require.NoError(t, yaml.UnmarshalStrict(content, &plain))
	require.NoError(t, yaml.Unmarshal(operatorConfig(t), &generated))
	for _, key := range []string{
		"honor_labels", "honor_timestamps", "follow_redirects", "sample_limit", "label_limit", "label_name_length_limit",
		"label_value_length_limit", "body_size_limit", "metric_relabel_configs",
	} {
		require.Contains(t, generated.ScrapeConfigs[0], key)
		require.Equal(t, generated.ScrapeConfigs[0][key], plain.ScrapeConfigs[0][key], key)
	}
	require.Subset(t, generated.ScrapeConfigs[0]["relabel_configs"], identity(plain.ScrapeConfigs[0]["relabel_configs"].([]any)))
}

// identity are the rules that are word for word the PodMonitor's: who may be a target, and what it is called.
func identity(rules []any) []any {
	return rules[2:8]
}
