package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// certificateSource returns nil without the two files.
func certificateSource(o *options, registry prometheus.Registerer, logger *slog.Logger) certificate.Source {
	if o.certFile == "" {
		return nil
	}
	source := certificate.NewFileSource(o.certFile, o.keyFile, certificate.DefaultPoll, logger)
	registry.MustRegister(certificateCollector(source))
	return source
}

// tlsConfig serves the source's certificate or, while there has been none, one that no one
// trusts. The kubelet verifies nothing: its probes get their answer, "alive, not ready", and it
// does not restart a relay that waits for its Secret.
func tlsConfig(source certificate.Source) (*tls.Config, error) {
	pair, err := pki.NewAuthority("provisional.invalid", time.Now(), 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("make a provisional certificate: %w", err)
	}
	provisional, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the provisional certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert, err := source.GetCertificate(hello); err == nil {
				return cert, nil
			}
			return &provisional, nil
		},
		// A resumed session would go on with the certificate it began with.
		SessionTicketsDisabled: true,
	}, nil
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
