package reference

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// What software emulation costs is what docs/why-slow.md measured, in every text.
func TestEmulationCostIsTheMeasuredOne(t *testing.T) {
	measured, err := os.ReadFile(root + "docs/why-slow.md")
	require.NoError(t, err)
	least, most := math.Inf(1), 0.
	for _, row := range regexp.MustCompile(`(?m)^\|.* s \|.* s \| ([0-9.]+) times`).FindAllSubmatch(measured, -1) {
		times, err := strconv.ParseFloat(string(row[1]), 64)
		require.NoError(t, err)
		least, most = min(least, times), max(most, times)
	}
	times := fmt.Sprintf("%.0f to %.0f times", least, most)
	require.Contains(t, contract.EmulationCost, times)

	pages := []string{root + "README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/runbooks/*.md"} {
		found, err := filepath.Glob(root + pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	quoting := 0
	for _, path := range pages {
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, quoted := range regexp.MustCompile(`(\d+ to \d+ times)\W.{0,80}as long`).FindAllSubmatch(page, -1) {
			require.Equal(t, times, string(quoted[1]), path)
			quoting++
		}
		require.NotRegexp(t, `\b(ten|\d+) times (slower|as slow)`, string(page), path)
	}
	require.GreaterOrEqual(t, quoting, 5)
}
