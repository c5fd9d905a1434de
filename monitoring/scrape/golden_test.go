package scrape

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const plainConfig = "../../manifests/overlays/without-prometheus-operator/scrape-config.yaml"

// written are the files that have the rules.
var written = map[string]Dialect{
	"../../manifests/relay/monitoring/podmonitor-vms.yaml":                               Operator,
	"../../manifests/overlays/direct/podmonitor-vms.yaml":                                Operator,
	"../../charts/kubevirt-hypervisor-exporter/templates/monitoring/podmonitor-vms.yaml": Operator,
	plainConfig: Plain,
}

var update = flag.Bool("update", false, "write the rules into the manifests, the chart and the plain configuration again")

// A metric, a label or a value that the sidecar gains, and that the configurations do not keep, fails here.
func TestConfigurationsHaveTheRules(t *testing.T) {
	for path, dialect := range written {
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
		"# BEGIN generated targets\n# END generated\n# BEGIN generated names\n# END generated\n# BEGIN generated page\n",
	} {
		_, err := Rewrite([]byte(file), Plain)
		require.Error(t, err, file)
	}
}
