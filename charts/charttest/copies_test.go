package charttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// copied are the manifests of which the chart has a copy, under files.
var copied = []string{
	"base/imagepolicy.yaml",
	"certs/policy.yaml",
	"overlays/admission-policy/policy.yaml",
	"monitoring/prometheusrule.yaml",
	"relay/monitoring/prometheusrule.yaml",
	"monitoring/dashboard.json",
}

func TestCopiesAreEqual(t *testing.T) {
	for _, path := range copied {
		copy := filepath.Join(chart, "files", path)
		want, err := os.ReadFile(filepath.Join(manifests, path))
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(copy), 0o755))
			require.NoError(t, os.WriteFile(copy, want, 0o644))
		}
		got, err := os.ReadFile(copy)
		require.NoError(t, err, "go test ./charts/... -run Copies -update makes it")
		require.Equal(t, string(want), string(got), path)
	}
}
