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
// end, and an alert reports each. The relay's ends when it has its certificate back; the webhook's when the process is back
// and renews it. The process would not renew the relay's for ten minutes (--relay-settle). To have certificates that end in
// six days, the check signs them with the CAs' keys, as the process did 24 days ago.
func TestCertificateExpiring(t *testing.T) {
	t.Parallel()
	f := connect(t)
	intact.RLock()
	t.Cleanup(intact.RUnlock)
	f.scale(certsProcess, "certs", 0, 1)
	f.age(cluster.Product, webhook)
	renewRelay := f.age(cluster.Relay, cluster.Relay)
	const alert = "HypervisorExporterCertificateExpiring"
	ofWebhook := map[string]string{"serves": "webhook", "certificate": "serving"}
	ofRelay := map[string]string{"serves": "relay", "certificate": "serving"}
	f.awaitAlert(alert, ofWebhook)
	f.awaitAlert(alert, ofRelay)
	renewRelay()
	f.awaitResolved(alert, ofRelay)
	f.setReplicas(certsProcess, "certs", 1)
	f.awaitResolved(alert, ofWebhook)
}

// age replaces a server's certificate by an old one of the same CA. The function that it returns puts back what was there.
func (f *framework) age(namespace, name string) func() {
	secrets := f.CoreV1().Secrets(namespace)
	ca, err := secrets.Get(f.ctx, name+"-ca", metav1.GetOptions{})
	require.NoError(f.t, err)
	before, err := secrets.Get(f.ctx, name+"-tls", metav1.GetOptions{})
	require.NoError(f.t, err)
	signer, err := tls.X509KeyPair(ca.Data["tls.crt"], ca.Data["tls.key"])
	require.NoError(f.t, err)
	old := before.DeepCopy()
	old.Data["tls.crt"], old.Data["tls.key"] = oldCertificate(f.t, signer, name+"."+namespace+".svc")
	_, err = secrets.Update(f.ctx, old, metav1.UpdateOptions{})
	require.NoError(f.t, err)
	return func() {
		before.ResourceVersion = "" // unconditional
		_, err := secrets.Update(f.ctx, before, metav1.UpdateOptions{})
		require.NoError(f.t, err)
	}
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
