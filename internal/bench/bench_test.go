package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	table := newTable([]string{"now", "yardstick"})
	table.add(0, "scrape: CPU", micro, 3e-6)
	table.add(1, "scrape: CPU", micro, 2e-6)
	table.add(0, "RssAnon at rest", mebibytes, 4.5*(1<<20))
	table.add(0, "scrape: CPU", micro, 5e-6)
	var out strings.Builder
	require.NoError(t, table.write(&out))
	require.Equal(t, strings.TrimPrefix(`
measure          now       yardstick
scrape: CPU      4 µs      2 µs
RssAnon at rest  4.50 MiB  –
`, "\n"), out.String())
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 3, 2}))
}

func TestQuantile(t *testing.T) {
	took := []time.Duration{4 * time.Second, time.Second, 3 * time.Second, 2 * time.Second, 5 * time.Second}
	require.Equal(t, 3.0, quantile(took, 0.5))
	require.Equal(t, 5.0, quantile(took, 1))
}

func TestRead(t *testing.T) {
	r, err := read(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, r.resident, r.anonymous)
	require.Greater(t, r.anonymous, float64(1<<20))
	require.Positive(t, r.cpu)
	require.Positive(t, r.files)
	require.Positive(t, r.wakeups)
}
