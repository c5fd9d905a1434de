package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// ClockError is by how much a node's clock may be wrong, in either direction,
// without anyone refusing a certificate: a node without NTP whose BIOS clock
// holds local time is off by that much, or more.
const ClockError = 2 * time.Hour

// backdate lets every verifier accept a fresh certificate at once, also when the
// issuer's clock is ahead by ClockError and the verifier's is behind by as much.
// So a new certificate never has to wait, nor does the first of all. The fifth
// hour is for the clock that runs on while a certificate is on its way.
const backdate = 2*ClockError + time.Hour

// NewAuthority makes a self-signed authority that can sign leaves for dnsName
// and nothing else (a critical name constraint), so that a stolen key is worth
// no more than this one service. Its lifetime is counted from now.
func NewAuthority(dnsName string, now time.Time, lifetime time.Duration) (*Pair, error) {
	return issue(&x509.Certificate{
		Subject:                     pkix.Name{CommonName: service(dnsName) + " authority " + now.UTC().Format(time.RFC3339)},
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

// IssueLeaf makes a serving certificate for dnsName, signed by the authority.
// Its lifetime is counted from now. It ends with the authority at the latest: a
// leaf that outlived its signer would look valid and be refused.
func IssueLeaf(authority *Pair, dnsName string, now time.Time, lifetime time.Duration) (*Pair, error) {
	if !authority.Certificate.IsCA {
		return nil, errors.New("issue a serving certificate: the signer is not an authority")
	}
	notAfter := now.Add(lifetime)
	if authority.Certificate.NotAfter.Before(notAfter) {
		notAfter = authority.Certificate.NotAfter
	}
	return issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: service(dnsName)},
		DNSNames:    []string{dnsName},
		NotBefore:   now.Add(-backdate),
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority)
}

// service is the first label of <service>.<namespace>.svc.
func service(dnsName string) string {
	name, _, _ := strings.Cut(dnsName, ".")
	return name
}

// issue signs the template with a new key; without a signer by itself.
func issue(template *x509.Certificate, signer *Pair) (*Pair, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
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
	return ParsePair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM)
}
