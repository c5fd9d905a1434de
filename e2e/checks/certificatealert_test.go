package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const certsProcess = "hypervisor-exporter-certs"

// certificates is held by a check that spoils the webhook's, and by one that needs all to be well.
var certificates sync.Mutex

// While the process that renews certificates is away, the webhook's comes near its end, and an alert reports that; when
// the process is back, it renews the certificate, and the alert ends. To have one that ends in six days, the check signs
// it with the CA's key, as the process did 24 days ago.
func TestCertificateExpiring(t *testing.T) {
	t.Parallel()
	f := connect(t)
	certificates.Lock()
	t.Cleanup(certificates.Unlock)
	f.scale(certsProcess, "certs", 0, 1)
	secrets := f.CoreV1().Secrets(cluster.Product)
	ca, err := secrets.Get(f.ctx, "hypervisor-exporter-webhook-ca", metav1.GetOptions{})
	require.NoError(t, err)
	serving, err := secrets.Get(f.ctx, "hypervisor-exporter-webhook-tls", metav1.GetOptions{})
	require.NoError(t, err)
	signer, err := tls.X509KeyPair(ca.Data["tls.crt"], ca.Data["tls.key"])
	require.NoError(t, err)
	serving.Data["tls.crt"], serving.Data["tls.key"] = oldCertificate(t, signer)
	_, err = secrets.Update(f.ctx, serving, metav1.UpdateOptions{})
	require.NoError(t, err)
	labels := map[string]string{"serves": "webhook", "certificate": "serving"}
	f.awaitAlert("HypervisorExporterCertificateExpiring", labels)
	f.setReplicas(certsProcess, "certs", 1)
	f.awaitResolved("HypervisorExporterCertificateExpiring", labels)
}

// oldCertificate is a serving certificate of the webhook, and its key, of 30 days of which 24 are over.
func oldCertificate(t *testing.T, signer tls.Certificate) (certificate, key []byte) {
	const day = 24 * time.Hour
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{webhook + "." + cluster.Product + ".svc"},
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
