package dashboards

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const grafanaFile = "../../manifests/monitoring/dashboard.json"

var update = flag.Bool("update", false, "write the dashboard anew")

// What is committed is what the source makes.
func TestGrafanaFile(t *testing.T) {
	got, err := Grafana()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(grafanaFile, got, 0o644))
	}
	want, err := os.ReadFile(grafanaFile)
	require.NoError(t, err, "write it with: go test ./monitoring/dashboards -update")
	require.True(t, bytes.Equal(want, got), "%s is stale; write it with: go test ./monitoring/dashboards -update", grafanaFile)
}
