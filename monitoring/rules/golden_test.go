package rules

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	prometheusRules = "../../manifests/monitoring/prometheusrule.yaml"
	relayRules      = "../../manifests/relay/monitoring/prometheusrule.yaml"
	rulesFile       = "../../manifests/overlays/without-prometheus-operator/rules.yaml"
	alertsPage      = "../../docs/alerts.md"
)

var update = flag.Bool("update", false, "write the generated files anew")

// What is committed is what the source makes.
func TestGeneratedFiles(t *testing.T) {
	tests := map[string]func() ([]byte, error){
		prometheusRules: func() ([]byte, error) { return PrometheusRules(productNamespace) },
		relayRules:      func() ([]byte, error) { return PrometheusRules(relayNamespace) },
		rulesFile:       RulesFile,
		alertsPage:      func() ([]byte, error) { return []byte(Document()), nil },
	}
	for path, render := range tests {
		got, err := render()
		require.NoError(t, err)
		golden(t, path, got)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with: go test ./monitoring/rules -update")
	require.True(t, bytes.Equal(want, got), "%s is stale; write it with: go test ./monitoring/rules -update", path)
}
