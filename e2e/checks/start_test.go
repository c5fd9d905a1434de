package checks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The same with software emulation is a part of TestEmulated.
func TestStart(t *testing.T) {
	t.Parallel()
	connect(t).checkStart("kvm")
}

// A VM in a labelled namespace has a sidecar, and Prometheus its one series, within two scrapes and with the right type.
// TestBindings checks its labels.
func (f *framework) checkStart(hypervisor string) {
	v := vm{namespace: labelled, name: "start-" + hypervisor}
	f.start(v)
	running := time.Now()
	pod := f.pod(v)
	found := f.awaitInfo(v)
	f.t.Logf("series %.1f s after phase Running: %v", time.Since(running).Seconds(), found.Metric)
	require.Equal(f.t, pod.Name, found.Metric["pod"])
	f.requireMeasured(v, hypervisor)
	require.LessOrEqual(f.t, f.scrapesWithout(v, hypervisor, time.Hour), 1.0, "scrapes that came through without the series")
	f.requireListed(v, hypervisor)
	f.remove(v)
	f.awaitNoSeries(v)
}
