// Package certs gives the serving webhook its certificate and replaces it
// while connections go on. The serving process reads files and nothing else;
// who writes those files (our own rotation in certs/rotation, or cert-manager)
// is not its concern.
package certificate

import (
	"context"
	"crypto/tls"
	"time"
)

// Source is where a TLS server takes its certificate from. All methods may be
// called concurrently.
type Source interface {
	// GetCertificate fits tls.Config and gives the newest good certificate,
	// or an error while there has never been one.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Run keeps the certificate current until ctx ends; it returns nil then.
	Run(ctx context.Context) error
	// Healthy is nil when a certificate is loaded and valid at this moment,
	// and otherwise says what is wrong and where.
	Healthy() error
	// NotAfter is the end of the certificate being served; false without one.
	NotAfter() (time.Time, bool)
}
