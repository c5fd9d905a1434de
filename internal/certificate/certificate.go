// Package certificate gives a TLS server its certificate and replaces it while connections go on. A server reads files
// and nothing else: who writes them (webhook/certs, or cert-manager) does not matter to it.
package certificate

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Source is where a TLS server takes its certificate from. All methods may be called concurrently.
type Source interface {
	// GetCertificate fits tls.Config. It returns the newest good certificate, with Leaf set, or an error while there has
	// never been one. It does not use its argument, which may be nil.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Run keeps the certificate current until ctx ends; it returns nil then.
	Run(ctx context.Context) error
	// Healthy returns nil if a certificate is loaded and valid now; otherwise the error names what is wrong and where.
	Healthy() error
}

// WithProvisional returns a GetCertificate for tls.Config: the source's certificate or, until there is one, a
// certificate that no one trusts. The kubelet verifies nothing, so its probes get their answer ("alive, not ready") from
// the first moment on, and it does not restart a program that waits for its Secret.
func WithProvisional(source Source) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	pair, err := pki.NewCA("provisional.invalid", time.Now(), 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("make a provisional certificate: %w", err)
	}
	provisional, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the provisional certificate: %w", err)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if certificate, err := source.GetCertificate(hello); err == nil {
			return certificate, nil
		}
		return &provisional, nil
	}, nil
}

// NewCollector returns a collector of one gauge, called metric: the end of the certificate that the source serves.
// Without a certificate there is no series: a 0 would mean 1970.
func NewCollector(metric string, source Source) prometheus.Collector {
	return &collector{source: source, notAfter: prometheus.NewDesc(metric,
		"End of the serving certificate; absent while there is none.", nil, nil)}
}

type collector struct {
	source   Source
	notAfter *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) { descs <- c.notAfter }

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	if certificate, err := c.source.GetCertificate(nil); err == nil {
		end := float64(certificate.Leaf.NotAfter.Unix())
		metrics <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, end)
	}
}
