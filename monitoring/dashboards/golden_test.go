package dashboards

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the generated dashboard")

func TestGrafanaFile(t *testing.T) {
	const path = "../../manifests/monitoring/dashboard.json"
	got, err := Grafana()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, string(want) == string(got), "%s is stale; write it with: go test ./monitoring/dashboards -update", path)
}
