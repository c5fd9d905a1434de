package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const certsProcess = "hypervisor-exporter-certs"

// While the process that renews certificates is away, as under cert-manager, the webhook's and the relay's come near their
// end, and an alert reports each; when the process is back, it renews them, and the alerts end. To have certificates that end
// in six days, the check signs them with the CAs' keys, as the process did 24 days ago.
func TestCertificateExpiring(t *testing.T) {
	t.Parallel()
	f := connect(t)
	intact.RLock()
	t.Cleanup(intact.RUnlock)
	f.scale(certsProcess, "certs", 0, 1)
	servers := map[string]struct{ namespace, name string }{ // by the label serves
		"webhook": {cluster.Product, webhook},
		"relay":   {cluster.Relay, cluster.Relay},
	}
	for _, server := range servers {
		f.age(server.namespace, server.name)
	}
	labels := func(serves string) map[string]string {
		return map[string]string{"serves": serves, "certificate": "serving"}
	}
	for serves := range servers {
		f.awaitAlert("HypervisorExporterCertificateExpiring", labels(serves))
	}
	f.setReplicas(certsProcess, "certs", 1)
	for serves := range servers {
		f.awaitResolved("HypervisorExporterCertificateExpiring", labels(serves))
	}
}

// age replaces a server's certificate by an old one of the same CA.
func (f *framework) age(namespace, name string) {
	secrets := f.CoreV1().Secrets(namespace)
	ca, err := secrets.Get(f.ctx, name+"-ca", metav1.GetOptions{})
	require.NoError(f.t, err)
	serving, err := secrets.Get(f.ctx, name+"-tls", metav1.GetOptions{})
	require.NoError(f.t, err)
	signer, err := tls.X509KeyPair(ca.Data["tls.crt"], ca.Data["tls.key"])
	require.NoError(f.t, err)
	serving.Data["tls.crt"], serving.Data["tls.key"] = oldCertificate(f.t, signer, name+"."+namespace+".svc")
	_, err = secrets.Update(f.ctx, serving, metav1.UpdateOptions{})
	require.NoError(f.t, err)
}

// oldCertificate is a serving certificate for the name, and its key, of 30 days of which 24 are over.
func oldCertificate(t *testing.T, signer tls.Certificate, dnsName string) (certificate, key []byte) {
	const day = 24 * time.Hour
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{dnsName},
		NotBefore:    time.Now().Add(-24 * day),
		NotAfter:     time.Now().Add(6 * day),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, signer.Leaf, private.Public(), signer.PrivateKey)
	require.NoError(t, err)
	text, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}
