package scrape

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	podMonitor  = "../../manifests/monitoring/vms/podmonitor-vms.yaml"
	plainConfig = "../../manifests/overlays/without-prometheus-operator/scrape-config.yaml"
)

var update = flag.Bool("update", false, "write the rules into the generated blocks")

// A new metric, label or value of the sidecar that the configurations do not keep fails here.
func TestConfigurationsHaveTheRules(t *testing.T) {
	for path, dialect := range map[string]Dialect{podMonitor: Operator, plainConfig: Plain} {
		old, err := os.ReadFile(path)
		require.NoError(t, err)
		want, err := Rewrite(old, dialect)
		require.NoError(t, err, path)
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o644))
			continue
		}
		require.Equal(t, string(want), string(old), "%s is stale; write it with: go test ./monitoring/scrape -update", path)
	}
}

func TestRewriteRefusesAFileWithoutTheBlocks(t *testing.T) {
	for _, file := range []string{
		"",
		"# BEGIN generated targets\n# END generated\n",
		"# BEGIN generated other\n# END generated\n",
		"# BEGIN generated targets\n# END generated\n# BEGIN generated page\n",
	} {
		_, err := Rewrite([]byte(file), Plain)
		require.Error(t, err, file)
	}
}
