package checks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const certsProcess = "hypervisor-exporter-certs"

// certificates is held by a check that spoils the webhook's, and by one that wants all to be well.
var certificates sync.Mutex

// While the process that renews certificates is away, the webhook's comes near its end, and that is told; when the
// process is back, it renews the certificate, and the alert is over. To have one that ends in six days, the test signs it
// with the authority's key, as the process did 24 days ago.
func TestCertificateExpiring(t *testing.T) {
	t.Parallel()
	w := connect(t)
	certificates.Lock()
	t.Cleanup(certificates.Unlock)
	scale := func(ctx context.Context, replicas int) {
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
		_, err := w.AppsV1().Deployments(cluster.Product).Patch(ctx, certsProcess, types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		scale(context.Background(), 1)
		require.NoError(t, w.WaitDeployments(context.Background(), cluster.Product, certsProcess))
	})
	scale(t.Context(), 0)
	eventually(t, patience, "the certificate process to end", func(ctx context.Context) error {
		pods, err := w.CoreV1().Pods(cluster.Product).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=certs"})
		if err == nil && len(pods.Items) > 0 {
			err = errors.New("it is there")
		}
		return err
	})
	authority, err := w.CoreV1().Secrets(cluster.Product).Get(t.Context(), "hypervisor-exporter-webhook-ca", metav1.GetOptions{})
	require.NoError(t, err)
	serving, err := w.CoreV1().Secrets(cluster.Product).Get(t.Context(), "hypervisor-exporter-webhook-tls", metav1.GetOptions{})
	require.NoError(t, err)
	signer, err := tls.X509KeyPair(authority.Data["tls.crt"], authority.Data["tls.key"])
	require.NoError(t, err)
	serving.Data["tls.crt"], serving.Data["tls.key"] = oldCertificate(t, signer)
	_, err = w.CoreV1().Secrets(cluster.Product).Update(t.Context(), serving, metav1.UpdateOptions{})
	require.NoError(t, err)
	labels := map[string]string{"serves": "webhook", "certificate": "serving"}
	w.awaitAlert(t, "HypervisorExporterCertificateExpiring", labels)
	scale(t.Context(), 1)
	w.awaitResolved(t, "HypervisorExporterCertificateExpiring", labels)
}

// oldCertificate is a serving certificate of the webhook, and its key, of 30 days of which 24 are over.
func oldCertificate(t *testing.T, signer tls.Certificate) (certificate, key []byte) {
	t.Helper()
	const day = 24 * time.Hour
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	name := webhook + "." + cluster.Product + ".svc"
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{name},
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
