package clustertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// publishedAuthorities are what Prometheus is told to trust.
func publishedAuthorities(t *testing.T) pki.Bundle {
	t.Helper()
	trust, err := server.Client.CoreV1().ConfigMaps(relayNamespace).Get(context.Background(), "hypervisor-exporter-relay-ca", metav1.GetOptions{})
	require.NoError(t, err)
	roots, err := pki.ParseBundle([]byte(trust.Data["ca.crt"]))
	require.NoError(t, err)
	return roots
}

// The certificate process makes the relay's certificate as well, and publishes Prometheus' authority.
func TestRelayGetsACertificate(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t))
	require.Eventually(t, func() bool {
		secret, err := server.Client.CoreV1().Secrets(relayNamespace).Get(context.Background(), "hypervisor-exporter-relay-tls", metav1.GetOptions{})
		if err != nil || len(secret.Data["tls.crt"]) == 0 {
			return false
		}
		pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		roots := publishedAuthorities(t)
		return len(roots) == 1 && roots.Verify(leaf, relayServerName, time.Now()) == nil
	}, 30*time.Second, 100*time.Millisecond)
}

// Authority and certificate are replaced, and at every moment what Prometheus trusts verifies what the relay serves.
func TestRelayRotationLeavesNoGap(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t), "--ca-lifetime=2m", "--leaf-lifetime=2m", "--relay-settle=3s")
	var first *x509.Certificate
	overlapped := false
	require.Eventually(t, func() bool {
		secret, err := server.Client.CoreV1().Secrets(relayNamespace).Get(context.Background(), "hypervisor-exporter-relay-tls", metav1.GetOptions{})
		if err != nil || len(secret.Data["tls.crt"]) == 0 {
			return false
		}
		served, err := pki.ParseBundle(secret.Data["tls.crt"])
		require.NoError(t, err)
		trusted := publishedAuthorities(t)
		require.NoError(t, trusted.Verify(served[0], relayServerName, time.Now()))
		if first == nil {
			first = trusted[0]
		}
		overlapped = overlapped || len(trusted) > 1
		return len(trusted) == 1 && !trusted[0].Equal(first)
	}, 4*time.Minute, 100*time.Millisecond, "the authority was replaced and the old one is no longer trusted")
	require.True(t, overlapped, "old and new are trusted together for a while")
}
