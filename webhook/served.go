package main

import (
	"context"
	"crypto/x509"
	"sync"
	"time"
)

// How long it is believed that the certificate is served, and that it is not. Anyone can
// ask for readiness: each question must not be a handshake. And while the port is flooded,
// a handshake takes longer than the kubelet waits.
const (
	believeServed    = 30 * time.Second
	believeNotServed = 500 * time.Millisecond
)

// servedCertificate remembers which certificate was seen on the port, and when.
type servedCertificate struct {
	mu          sync.Mutex
	certificate *x509.Certificate
	err         error
	until       time.Time
}

// check returns nil if the certificate is served, by what is remembered or else by asking.
func (s *servedCertificate) check(ctx context.Context, certificate *x509.Certificate, ask func(context.Context, *x509.Certificate) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificate != nil && s.certificate.Equal(certificate) && time.Now().Before(s.until) {
		return s.err
	}
	s.certificate, s.err = certificate, ask(ctx, certificate)
	believe := believeServed
	if s.err != nil {
		believe = believeNotServed
	}
	s.until = time.Now().Add(believe)
	return s.err
}
