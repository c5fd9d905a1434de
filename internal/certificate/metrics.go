package certificate

import "github.com/prometheus/client_golang/prometheus"

// NewCollector shows the end of the certificate that the source serves.
// Without a certificate there is no series: a 0 would say 1970.
func NewCollector(source Source) prometheus.Collector {
	return &collector{source: source, notAfter: prometheus.NewDesc(
		"hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds",
		"End of the serving certificate; absent while there is none.", nil, nil)}
}

type collector struct {
	source   Source
	notAfter *prometheus.Desc
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) { descs <- c.notAfter }

func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	if end, ok := c.source.NotAfter(); ok {
		metrics <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(end.Unix()))
	}
}
