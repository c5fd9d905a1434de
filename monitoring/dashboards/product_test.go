package dashboards

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// productMetrics are the names that the webhook and the certificate process register.
func productMetrics(t *testing.T) []string {
	t.Helper()
	registry := prometheus.NewRegistry()
	admission.NewMetrics(registry)
	certs.NewMetrics(registry)
	families, err := registry.Gather()
	require.NoError(t, err)
	names := []string{
		"hypervisor_exporter_webhook_rotation_certificate_not_after_timestamp_seconds", // no series without a certificate
		"hypervisor_exporter_webhook_rejected_requests_total",                          // none without a request
		"hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds",          // webhook/serve.go
	}
	for _, family := range families {
		names = append(names, family.GetName(), family.GetName()+"_bucket", family.GetName()+"_count")
	}
	return append(names, relayMetrics()...)
}

// relayMetrics are those of relay/scrape/metrics.go.
func relayMetrics() []string {
	return []string{"hypervisor_exporter_relay_scrapes_total", "hypervisor_exporter_relay_scrape_duration_seconds_bucket"}
}
