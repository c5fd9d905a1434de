package main

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/certificate"
)

// certificateSource returns nil without the two files.
func certificateSource(o *options, registry prometheus.Registerer, logger *slog.Logger) certificate.Source {
	if o.certFile == "" {
		return nil
	}
	source := certificate.NewFileSource(o.certFile, o.keyFile, certificate.DefaultPoll, time.Now, logger)
	registry.MustRegister(certificate.NewCollector("hypervisor_exporter_relay_certificate_not_after_timestamp_seconds", source))
	return source
}

// tlsConfig serves the source's certificate.
func tlsConfig(source certificate.Source) (*tls.Config, error) {
	getCertificate, err := certificate.WithProvisional(source)
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: getCertificate,
		// A resumed session would go on with the certificate it began with.
		SessionTicketsDisabled: true,
	}, err
}
