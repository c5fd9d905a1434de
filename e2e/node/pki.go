package node

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"path/filepath"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// writePKI writes the cluster's CA, the API server's certificate, that of the front proxy by which KubeVirt's aggregated
// API knows its caller, and the key of service account tokens.
func writePKI(dir string, addresses []net.IP, names []string) error {
	caKey, err := writeKey(dir, "ca")
	if err != nil {
		return err
	}
	ca, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "e2e-ca"}, caKey)
	if err != nil {
		return err
	}
	if err := writeCertificate(dir, "ca", ca); err != nil {
		return err
	}
	for name, template := range map[string]*x509.Certificate{
		"apiserver": {Subject: pkix.Name{CommonName: "kube-apiserver"}, DNSNames: names, IPAddresses: addresses},
		"proxy":     {Subject: pkix.Name{CommonName: "front-proxy"}},
	} {
		key, err := writeKey(dir, name)
		if err != nil {
			return err
		}
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = ca.NotBefore, time.Now().AddDate(0, 1, 0)
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
		if err != nil {
			return err
		}
		if err := writeCertificate(dir, name, &x509.Certificate{Raw: der}); err != nil {
			return err
		}
	}
	_, err = writeKey(dir, "sa")
	return err
}

// writeKey writes a new key.
func writeKey(dir, name string) (crypto.Signer, error) {
	text, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, err
	}
	if err := keyutil.WriteKey(filepath.Join(dir, name+".key"), text); err != nil {
		return nil, err
	}
	key, err := keyutil.ParsePrivateKeyPEM(text)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}

func writeCertificate(dir, name string, certificate *x509.Certificate) error {
	text, err := certutil.EncodeCertificates(certificate)
	if err != nil {
		return err
	}
	return certutil.WriteCert(filepath.Join(dir, name+".crt"), text)
}
