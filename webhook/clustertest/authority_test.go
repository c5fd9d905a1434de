package clustertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serverName is what the API server verifies of a webhook that is named by Service.
const serverName = serviceName + "." + productNamespace + ".svc"

// authority signs certificates by a key made for one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "clustertest"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	return authority{sign(t, template, template, key, key, time.Now().Add(time.Hour)), key}
}

// bundle is the authority as a caBundle.
func (a authority) bundle() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// issue gives a certificate for the webhook's Service that ends at that time, and its key, both PEM.
func (a authority) issue(t testing.TB, notAfter time.Time) (certificate, key []byte) {
	t.Helper()
	leaf := &x509.Certificate{DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafKey := newKey(t)
	signed := sign(t, leaf, a.certificate, leafKey, a.key, notAfter)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	require.NoError(t, err)
	return encode("CERTIFICATE", signed.Raw), encode("PRIVATE KEY", der)
}

func (a authority) pair(t testing.TB, notAfter time.Time) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, notAfter))
	require.NoError(t, err)
	return pair
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, notAfter time.Time) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.NotAfter = big.NewInt(time.Now().UnixNano()), notAfter
	template.NotBefore = notAfter.Add(-24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
