// Package pki makes and reads the few keys and certificates the webhook lives
// on: a small authority of its own and the leaf that the serving replicas
// show to the API server. It is pure: no file, no network, no clock.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Pair is a certificate with the private key that belongs to it.
type Pair struct {
	Certificate *x509.Certificate
	CertPEM     []byte
	KeyPEM      []byte

	key crypto.Signer
}

// ParsePair reads a PEM certificate (the first of a chain counts) and its PEM
// key. A key that does not belong to the certificate is an error.
func ParsePair(certPEM, keyPEM []byte) (*Pair, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read certificate and key: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("read certificate and key: the key cannot sign")
	}
	return &Pair{Certificate: pair.Leaf, CertPEM: certPEM, KeyPEM: keyPEM, key: key}, nil
}

// ValidAt says whether now lies in the certificate's lifetime.
func ValidAt(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && now.Before(cert.NotAfter)
}

// Due says whether a third or less of the lifetime that a certificate of this
// package was issued for is left, the moment at which a successor is wanted.
func Due(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(RenewalTime(cert))
}

// RenewalTime is the moment from which on Due is true.
func RenewalTime(cert *x509.Certificate) time.Time {
	lifetime := cert.NotAfter.Sub(cert.NotBefore.Add(backdate))
	return cert.NotAfter.Add(-lifetime / 3)
}

// newKey makes a P-256 key: the smallest that every Kubernetes client accepts,
// and a handshake with it costs a tenth of one with RSA-2048.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a P-256 key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a P-256 key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
