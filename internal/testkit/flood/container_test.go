package flood

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGoMemoryLimits: each container's Go runtime knows 70 % of the memory limit, the
// sidecar's half: its binary is as large as the rest.
func TestGoMemoryLimits(t *testing.T) {
	root, err := moduleRoot()
	require.NoError(t, err)
	for file, name := range map[string]string{
		"manifests/base/deployment.yaml":  "webhook",
		"manifests/certs/deployment.yaml": "certs",
		"manifests/relay/daemonset.yaml":  "relay",
	} {
		c, err := fromManifest(root, file, name)
		require.NoError(t, err)
		require.Contains(t, c.environment, fmt.Sprintf("GOMEMLIMIT=%dMiB", c.limits.Memory*70/100>>20), file)
	}
	c, err := fromManifest(root, "manifests/relay/daemonset.yaml", "relay")
	require.NoError(t, err)
	require.Contains(t, c.environment, "GOMAXPROCS=1", "from the Containerfile")

	sidecar, err := injected(root)
	require.NoError(t, err)
	require.EqualValues(t, 24<<20, sidecar.limits.Memory)
	require.True(t, slices.ContainsFunc(sidecar.environment, func(v string) bool {
		return v == fmt.Sprintf("GOMEMLIMIT=%d", sidecar.limits.Memory/2) || v == fmt.Sprintf("GOMEMLIMIT=%dMiB", sidecar.limits.Memory/2>>20)
	}), "%v", sidecar.environment)
}
