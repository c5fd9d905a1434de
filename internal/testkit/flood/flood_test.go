package flood

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var runner *Runner

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Getuid() != 0 {
		return 0, fmt.Errorf("these tests make cgroups: run them as root (sudo -E go test ./internal/testkit/flood)")
	}
	// FLOOD_BINARIES is a folder with other binaries, to see them fail.
	if runner, err = NewRunner(context.Background(), os.Getenv("FLOOD_BINARIES")); err != nil {
		return 0, err
	}
	defer func() { _ = runner.Close() }()
	return m.Run(), nil
}

// TestFloods: no program is killed at its container's memory limit, and no honest
// client loses more than one request in ten.
func TestFloods(t *testing.T) {
	cases, err := Cases()
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			result, err := runner.Run(t.Context(), c)
			require.NoError(t, err)
			t.Logf("%.1f MiB anonymous, peak %.1f of %.0f MiB, limit reached %.0f times, %d connections", result.Anonymous/(1<<20), result.Peak/(1<<20), result.Limit/(1<<20), result.Failures, result.Connections)
			for _, w := range result.Works {
				t.Logf("%s: %d of %d lost, %d late, last: %v", w.Name, w.Lost, w.Asked, w.Late, w.Last)
			}
			require.NoError(t, result.Err())
		})
	}
}

// TestGoMemoryLimits: GOMEMLIMIT is 70 % of each container's memory limit, and half of the
// sidecar's: its binary is as large as the rest.
func TestGoMemoryLimits(t *testing.T) {
	root := runner.root
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
	require.Contains(t, c.environment, "GOMAXPROCS=1", "measured: with two, a scrape costs a third more CPU")

	sidecar, err := injected(root)
	require.NoError(t, err)
	require.EqualValues(t, 24<<20, sidecar.limits.Memory)
	require.True(t, slices.ContainsFunc(sidecar.environment, func(v string) bool {
		return v == fmt.Sprintf("GOMEMLIMIT=%d", sidecar.limits.Memory/2) || v == fmt.Sprintf("GOMEMLIMIT=%dMiB", sidecar.limits.Memory/2>>20)
	}), "%v", sidecar.environment)
}
