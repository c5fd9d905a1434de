package dashboards

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the generated dashboards")

func TestGrafanaFiles(t *testing.T) {
	for _, page := range Pages() {
		path := "../../manifests/monitoring/" + page.File
		got, err := page.Grafana()
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, string(want) == string(got), "%s is stale; write it with: go test ./monitoring/dashboards -update", path)
	}
}

// The command in docs/alerts.md renames the label of clusters, in queries and variables alike.
func TestClusterLabelCommand(t *testing.T) {
	page, err := os.ReadFile("../../docs/alerts.md")
	require.NoError(t, err)
	command := regexp.MustCompile("`(sed '[^']*' manifests/monitoring/dashboard.json)`").FindSubmatch(page)
	require.NotNil(t, command)
	shell := exec.Command("sh", "-c", string(command[1]))
	shell.Dir = "../.."
	got, err := shell.Output()
	require.NoError(t, err)
	want, err := Pages()[0].Grafana()
	require.NoError(t, err)
	for _, place := range []string{"by (cluster", "on (cluster", `cluster=~\"$cluster\"`, `"name": "cluster"`, ", cluster)\"", "{{cluster}}", "var-cluster="} {
		require.NotZero(t, bytes.Count(want, []byte(place)), place)
		require.NotContains(t, string(got), place)
		renamed := strings.ReplaceAll(place, "cluster", "region")
		require.Equal(t, bytes.Count(want, []byte(place)), bytes.Count(got, []byte(renamed)), place)
	}
}
