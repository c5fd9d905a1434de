package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/webhook/certs"
)

// certificateCollector shows when the serving certificate ends. Without one there
// is no series: a 0 would say 1970.
func certificateCollector(source certs.Source) prometheus.Collector {
	return &notAfter{source: source, desc: prometheus.NewDesc(
		"hypervisor_exporter_relay_certificate_not_after_timestamp_seconds",
		"End of the serving certificate; absent while there is none.", nil, nil)}
}

type notAfter struct {
	source certs.Source
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *notAfter) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c *notAfter) Collect(metrics chan<- prometheus.Metric) {
	if end, ok := c.source.NotAfter(); ok {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(end.Unix()))
	}
}
