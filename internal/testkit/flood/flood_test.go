package flood

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// world is for all floods.
var world *World

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make cgroups: run them as root (sudo -E go test ./internal/testkit/flood)")
		return 1
	}
	var err error
	// FLOOD_BINARIES is a folder with other binaries, to see them fail.
	if world, err = NewWorld(context.Background(), os.Getenv("FLOOD_BINARIES")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = world.Close() }()
	return m.Run()
}

// TestFloods: no program is killed at its container's memory limit, and no honest
// client loses more than one request in ten.
func TestFloods(t *testing.T) {
	cases, err := Cases()
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			result, err := world.Run(t.Context(), c)
			require.NoError(t, err)
			t.Logf("%.1f MiB anonymous, peak %.1f of %.0f MiB, limit met %.0f times, %d connections", result.Anonymous/(1<<20), result.Peak/(1<<20), result.Limit/(1<<20), result.Failures, result.Connections)
			for _, w := range result.Works {
				t.Logf("%s: %d of %d lost, last: %v", w.Name, w.Lost, w.Asked, w.Last)
			}
			require.NoError(t, result.Err())
		})
	}
}
