package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// provisional gives the source's certificate or, while there has been none, one
// that nobody trusts. The kubelet verifies nothing: its probes get their answer,
// "alive, not ready", and it does not restart a relay that waits for its Secret.
type provisional struct {
	source certificate.Source
	first  *tls.Certificate
}

func newProvisional(source certificate.Source) (provisional, error) {
	pair, err := pki.NewAuthority("provisional.invalid", time.Now(), 24*time.Hour)
	if err != nil {
		return provisional{}, fmt.Errorf("make a provisional certificate: %w", err)
	}
	first, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return provisional{}, fmt.Errorf("load the provisional certificate: %w", err)
	}
	return provisional{source: source, first: &first}, nil
}

// GetCertificate fits tls.Config.
func (p provisional) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert, err := p.source.GetCertificate(hello); err == nil {
		return cert, nil
	}
	return p.first, nil
}

// certificateCollector shows when the serving certificate ends. Without one there
// is no series: a 0 would say 1970.
func certificateCollector(source certificate.Source) prometheus.Collector {
	return &notAfter{source: source, desc: prometheus.NewDesc(
		"hypervisor_exporter_relay_certificate_not_after_timestamp_seconds",
		"End of the serving certificate; absent while there is none.", nil, nil)}
}

type notAfter struct {
	source certificate.Source
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
