package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bundle is a list of CAs that are trusted at the same time, as a webhook configuration's caBundle holds them.
type Bundle []*x509.Certificate

// ParseBundle reads PEM certificates. No bytes give an empty bundle; anything in them that is not a certificate is an
// error.
func ParseBundle(data []byte) (Bundle, error) {
	var bundle Bundle
	rest := bytes.TrimSpace(data)
	for len(rest) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("read CAs: found something that is not a PEM certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read CAs: %w", err)
		}
		bundle = append(bundle, cert)
		rest = bytes.TrimSpace(rest)
	}
	return bundle, nil
}

// PEM encodes the bundle in its order; the same bundle gives the same bytes.
func (b Bundle) PEM() []byte {
	var out []byte
	for _, cert := range b {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

// Pool returns the bundle as a verifier's roots.
func (b Bundle) Pool() *x509.CertPool {
	roots := x509.NewCertPool()
	for _, cert := range b {
		roots.AddCert(cert)
	}
	return roots
}

// With returns the bundle with those of more that it lacks, in order.
func (b Bundle) With(more ...*x509.Certificate) Bundle {
	out := slices.Clone(b)
	for _, cert := range more {
		if !out.Contains(cert) {
			out = append(out, cert)
		}
	}
	return out
}

// Unexpired returns the CAs that can still verify anything. One that is not valid yet stays: dropping it would only have
// to be undone.
func (b Bundle) Unexpired(now time.Time) Bundle {
	return slices.DeleteFunc(slices.Clone(b), func(cert *x509.Certificate) bool { return !now.Before(cert.NotAfter) })
}

// Contains reports whether the bundle holds exactly this certificate.
func (b Bundle) Contains(cert *x509.Certificate) bool { return slices.ContainsFunc(b, cert.Equal) }

// Verify returns why a verifier that trusts this bundle alone would refuse the serving certificate for dnsName at that
// time; nil if it would accept it.
func (b Bundle) Verify(leaf *x509.Certificate, dnsName string, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		DNSName:     dnsName,
		Roots:       b.Pool(),
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
