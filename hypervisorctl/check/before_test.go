package check

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The oldest versions are those of docs/support.md.
func TestOldestVersionsAreDocumented(t *testing.T) {
	content, err := os.ReadFile(docs + "/support.md")
	require.NoError(t, err)
	for what, oldest := range map[string]string{"Kubernetes": oldestKubernetes, "KubeVirt": oldestKubeVirt, "Prometheus operator": oldestOperator} {
		found := false
		for _, row := range strings.Split(string(content), "\n") {
			if strings.HasPrefix(row, "| "+what+" |") {
				found = true
				require.Contains(t, row, "before "+oldest, row)
			}
		}
		require.True(t, found, what)
	}
}

func TestOlderThan(t *testing.T) {
	for running, want := range map[string]bool{
		"v1.29.9": true, "v1.30.0": false, "v1.30.0-eks-1": false, "v1.36.3+rke2r1": false, "v2.0.0": false, "1.9": true, "nonsense": false, "": false,
	} {
		require.Equal(t, want, olderThan(running, "1.30"), running)
	}
}
