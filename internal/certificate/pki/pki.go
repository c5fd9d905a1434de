// Package pki makes and reads the few keys and certificates that the product needs: a small CA of its own, and the leaf
// certificate that its servers show. It is pure: no file, no network, no clock.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// ClockError is how wrong a node's clock may be, in either direction, before anyone refuses a certificate: a node without
// NTP whose BIOS clock holds local time is that wrong, or more.
const ClockError = 2 * time.Hour

// backdate lets every verifier accept a new certificate at once, also when the issuer's clock is ahead by ClockError and
// the verifier's is behind by as much. So a new certificate never has to wait, not even the first. The fifth hour is for
// the time that passes while a certificate is distributed.
const backdate = 2*ClockError + time.Hour

// Pair is a certificate with the private key that belongs to it.
type Pair struct {
	Certificate *x509.Certificate
	CertPEM     []byte
	KeyPEM      []byte

	key crypto.Signer
}

// ParsePair reads a PEM certificate (the first of a chain counts) and its PEM key. A key that does not belong to the
// certificate is an error.
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

// NewCA makes a self-signed CA that can sign leaves for dnsName and nothing else (a critical name constraint), so that a
// stolen key is worth no more than this one service. Its lifetime is counted from now.
func NewCA(dnsName string, now time.Time, lifetime time.Duration) (*Pair, error) {
	return issue(&x509.Certificate{
		Subject:                     pkix.Name{CommonName: service(dnsName) + " CA " + now.UTC().Format(time.RFC3339)},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(lifetime),
		KeyUsage:                    x509.KeyUsageCertSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomains:         []string{dnsName},
		PermittedDNSDomainsCritical: true,
	}, nil)
}

// IssueLeaf makes a serving certificate for dnsName, signed by the CA. Its lifetime is counted from now. It ends with the
// CA at the latest: a leaf that outlived its CA would look valid and be refused.
func IssueLeaf(ca *Pair, dnsName string, now time.Time, lifetime time.Duration) (*Pair, error) {
	if !ca.Certificate.IsCA {
		return nil, errors.New("issue a serving certificate: the signer is not a CA")
	}
	notAfter := now.Add(lifetime)
	if ca.Certificate.NotAfter.Before(notAfter) {
		notAfter = ca.Certificate.NotAfter
	}
	return issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: service(dnsName)},
		DNSNames:    []string{dnsName},
		NotBefore:   now.Add(-backdate),
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
}

// service is the first label of <service>.<namespace>.svc.
func service(dnsName string) string {
	name, _, _ := strings.Cut(dnsName, ".")
	return name
}

// issue signs the template with a new key; without a signer it is self-signed. The key is on P-256: the smallest curve
// that every Kubernetes client accepts, and a handshake with it costs a tenth of one with RSA-2048.
func issue(template *x509.Certificate, signer *Pair) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a P-256 key: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a P-256 key: %w", err)
	}
	// RFC 5280 4.1.2.2: positive and at most 20 octets; 128 random bits never repeat.
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	parent, signKey := template, crypto.Signer(key)
	if signer != nil {
		parent, signKey = signer.Certificate, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %q: %w", template.Subject.CommonName, err)
	}
	return ParsePair(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// ValidAt reports whether now lies in the certificate's lifetime.
func ValidAt(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && now.Before(cert.NotAfter)
}

// Due reports whether a third or less is left of the lifetime that a certificate of this package was issued for, which is
// when it needs a successor.
func Due(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(RenewalTime(cert))
}

// RenewalTime is the moment from which on Due is true.
func RenewalTime(cert *x509.Certificate) time.Time {
	lifetime := cert.NotAfter.Sub(cert.NotBefore.Add(backdate))
	return cert.NotAfter.Add(-lifetime / 3)
}
