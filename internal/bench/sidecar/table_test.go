package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerdict(t *testing.T) {
	tests := []struct {
		name           string
		row            row
		bound, verdict string
	}{
		{"no target", row{values: []float64{7}}, "", ""},
		{"at the limit", row{values: []float64{60}, target: atMost(60)}, "≤ 60", "ok"},
		{"over the limit", row{values: []float64{61}, target: atMost(60)}, "≤ 60", "over"},
		{"none allowed, none there", row{values: []float64{0}, target: atMost(0)}, "≤ 0", "ok"},
		{"none allowed, one there", row{values: []float64{1}, target: atMost(0)}, "≤ 0", "over"},
		{"at a limit to stay below", row{unit: milliseconds, values: []float64{0.1}, target: below(0.1)}, "< 100.0 ms", "over"},
		{"within the floor's share", row{unit: microseconds, values: []float64{120e-6, 100e-6}, target: timesFloor(1.25)}, "≤ 1.2 × floor = 125 µs", "ok"},
		{"over the floor's share", row{unit: microseconds, values: []float64{150e-6, 100e-6}, target: timesFloor(1.25)}, "≤ 1.2 × floor = 125 µs", "over (1.50 × floor)"},
		{"nothing measured", row{target: atMost(60)}, "≤ 60", "not measured"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bound, _ := test.row.bound()
			require.Equal(t, test.bound, bound)
			require.Equal(t, test.verdict, test.row.verdict())
		})
	}
}

func TestWriteTellsWhatFailed(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, write(&out, []row{
		{measure: "binary", unit: megabytes, values: []float64{13.5e6, 8e6}, target: atMost(14e6)},
		{measure: "crowd", failed: errors.New("no cgroups here")},
	}))
	require.Equal(t, `measure  sidecar   floor    mini  target      verdict
binary   13.50 MB  8.00 MB  –     ≤ 14.00 MB  ok
crowd    –         –        –                 not measured

not measured: crowd: no cgroups here
`, out.String())
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{9, 1, 2}))
	require.Equal(t, 2.5, median([]time.Duration{3, 9, 1, 2}))
	require.NotEqual(t, 0.0, median([]float64{}))
}
