package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// handshakeTimeout is more than the API server itself would wait.
const handshakeTimeout = 3 * time.Second

// Replicas implements Servers for the webhook. It finds the serving pods through the records of a headless Service, which
// needs no right at all, and dials each one: a pod shows the API server the same certificate that it shows here, whatever
// state the Secret, the kubelet and the process are in.
type Replicas struct {
	// Lookup returns the addresses behind Host; net.DefaultResolver.LookupHost.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Host is the headless Service's name. It should publish pods that are not ready too: one that is about to be ready
	// will be called.
	Host string
	// Port is the pods' serving port.
	Port string
	// ServerName is the name that the API server verifies.
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
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: handshakeTimeout}, // of the handshake, too
		Config:    &tls.Config{RootCAs: trusted.Pool(), ServerName: r.ServerName, MinVersion: tls.VersionTLS12},
	}
	var refused []error
	for _, address := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, r.Port))
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("replica %s: %w", address, err))
		}
	}
	return errors.Join(refused...)
}

// Relays implements Servers for the node relays: there is one on each node, some perhaps unreachable, and none can be
// asked, so all count as changed over. The policy's Settle has to be longer than a kubelet takes to bring a Secret to a
// pod.
type Relays struct{}

// Confirm returns nil.
func (Relays) Confirm(context.Context, pki.Bundle) error { return nil }
