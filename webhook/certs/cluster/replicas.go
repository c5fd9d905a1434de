package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// handshakeTimeout is more than the API server itself would wait.
const handshakeTimeout = 3 * time.Second

// Replicas implements rotation.Replicas. It finds the serving pods through the
// records of a headless Service, which takes no right at all, and dials each
// one: what a pod shows is what the API server will be shown, whatever the
// Secret, the kubelet or the process make of it.
type Replicas struct {
	// Lookup gives the addresses behind Host; net.DefaultResolver.LookupHost.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Host is the headless Service's name. It should publish pods that are
	// not ready too: one that is about to be ready will be called.
	Host string
	// Port is the pods' serving port.
	Port string
	// ServerName is what the API server verifies.
	ServerName string
}

// Confirm dials every replica once.
func (r Replicas) Confirm(ctx context.Context, trusted pki.Bundle) error {
	addresses, err := r.Lookup(ctx, r.Host)
	if err != nil {
		return fmt.Errorf("find the webhook's replicas: %w", err)
	}
	if len(addresses) == 0 {
		return fmt.Errorf("find the webhook's replicas: no address behind %s", r.Host)
	}
	var refused []error
	for _, address := range addresses {
		if err := r.handshake(ctx, address, trusted); err != nil {
			refused = append(refused, fmt.Errorf("replica %s: %w", address, err))
		}
	}
	return errors.Join(refused...)
}

func (r Replicas) handshake(ctx context.Context, address string, trusted pki.Bundle) error {
	roots := x509.NewCertPool()
	for _, cert := range trusted {
		roots.AddCert(cert)
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: r.ServerName, MinVersion: tls.VersionTLS12}}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, r.Port))
	if err != nil {
		return err
	}
	return conn.Close()
}
