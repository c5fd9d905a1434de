package apiservertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is what an API server needs of certificates and keys, as files and as the authority to trust.
type pki struct {
	authority           []byte // PEM
	certFile, keyFile   string // what it serves with
	serviceAccountsFile string // what it signs service-account tokens with
}

// newPKI makes an authority, a serving certificate for 127.0.0.1 and a signing key, valid for a day, in dir.
func newPKI(dir string) (pki, error) {
	p := pki{
		certFile:            filepath.Join(dir, "apiserver.crt"),
		keyFile:             filepath.Join(dir, "apiserver.key"),
		serviceAccountsFile: filepath.Join(dir, "service-accounts.key"),
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, fmt.Errorf("make the authority's key: %w", err)
	}
	authority := certificate(1, "apiservertest")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return p, fmt.Errorf("make the authority: %w", err)
	}
	p.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})

	serving := certificate(2, "kube-apiserver")
	serving.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	serving.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	servingKey, err := writeKey(p.keyFile)
	if err != nil {
		return p, err
	}
	servingDER, err := x509.CreateCertificate(rand.Reader, serving, authority, servingKey.Public(), authorityKey)
	if err != nil {
		return p, fmt.Errorf("make the API server's certificate: %w", err)
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: servingDER})
	if err := os.WriteFile(p.certFile, content, 0o600); err != nil {
		return p, fmt.Errorf("write the API server's certificate: %w", err)
	}
	_, err = writeKey(p.serviceAccountsFile)
	return p, err
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func writeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key %s: %w", path, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key %s: %w", path, err)
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	return key, nil
}
