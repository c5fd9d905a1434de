package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// relayCertificates are the CAs that Prometheus should trust and the relay's certificate; false until there are both.
func relayCertificates(t *testing.T) (trusted, served pki.Bundle, found bool) {
	t.Helper()
	core := server.Client.CoreV1()
	secret, err := core.Secrets(relayNamespace).Get(context.Background(), relayName+"-tls", metav1.GetOptions{})
	require.NoError(t, err)
	trust, err := core.ConfigMaps(relayNamespace).Get(context.Background(), relayName+"-ca", metav1.GetOptions{})
	require.NoError(t, err)
	served, err = pki.ParseBundle(secret.Data["tls.crt"])
	require.NoError(t, err)
	trusted, err = pki.ParseBundle([]byte(trust.Data["ca.crt"]))
	require.NoError(t, err)
	return trusted, served, len(served) > 0 && len(trusted) > 0
}

// The certificate process makes the relay's certificate as well, and publishes the CA for Prometheus.
func TestRelayGetsACertificate(t *testing.T) {
	install(t, ".")
	startCerts(t, freePort(t))
	eventually(t, func() bool {
		trusted, served, found := relayCertificates(t)
		return found && len(trusted) == 1 && trusted.Verify(served[0], relayServerName, time.Now()) == nil
	})
}

// CA and certificate are replaced, and at every moment what Prometheus trusts verifies what the relay serves.
func TestRelayRotationLeavesNoGap(t *testing.T) {
	install(t, ".")
	old := issuePair(t, relayNamespace, relayName, relayServerName, 61*24*time.Hour)
	startCerts(t, freePort(t), "--relay-settle=3s")
	overlapped := false
	eventually(t, func() bool {
		trusted, served, found := relayCertificates(t)
		if !found {
			return false
		}
		require.NoError(t, trusted.Verify(served[0], relayServerName, time.Now()))
		overlapped = overlapped || len(trusted) > 1
		return len(trusted) == 1 && !trusted.Contains(old.Certificate)
	}, "the CA was replaced and the old one is no longer trusted")
	require.True(t, overlapped, "old and new are trusted together for a while")
}
