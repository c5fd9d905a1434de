package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the real operator makes of our other PodMonitors: webhook and relay are scraped too, the relay with the token
// and the authority that the manifests name.
func TestPodMonitor(t *testing.T) {
	t.Parallel()
	w := connect(t)
	for job, sign := range map[string]string{
		"hypervisor-exporter/hypervisor-exporter-webhook":     "hypervisor_exporter_webhook_admissions_total",
		"hypervisor-exporter-relay/hypervisor-exporter-relay": "hypervisor_exporter_relay_build_info",
	} {
		require.NoError(t, w.WaitScraped(t.Context(), job))
		found, err := w.Query(t.Context(), sign)
		require.NoError(t, err)
		require.NotEmpty(t, found, sign)
	}
}
