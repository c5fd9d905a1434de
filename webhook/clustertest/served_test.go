package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
)

// serverName is what the API server verifies of a webhook that is named by Service.
const serverName = serviceName + "." + productNamespace + ".svc"

// ca signs certificates for the webhook's Service.
type ca struct{ *pki.Pair }

func newCA(t testing.TB) ca {
	t.Helper()
	pair, err := pki.NewCA(serverName, time.Now(), 48*time.Hour)
	require.NoError(t, err)
	return ca{pair}
}

// issue returns a certificate for a day from then on, and its key.
func (c ca) issue(t testing.TB, begin time.Time) *pki.Pair {
	t.Helper()
	leaf, err := pki.IssueLeaf(c.Pair, serverName, begin, 24*time.Hour)
	require.NoError(t, err)
	return leaf
}

// serveStatically installs the webhook with a certificate that is not renewed, and two replicas.
// It returns once pods are injected, and the folder with the certificate.
func serveStatically(t *testing.T) (replicas []*replica, certificates string) {
	t.Helper()
	return serveReplicas(t, 2)
}

// serveReplicas is serveStatically with so many replicas.
func serveReplicas(t *testing.T, count int) (replicas []*replica, certificates string) {
	t.Helper()
	install(t, ".")
	ours := newCA(t)
	trust(t, ours)
	certificates = t.TempDir()
	leaf := ours.issue(t, time.Now())
	require.NoError(t, testkit.PublishVolume(certificates, map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM}))
	for range count {
		r := startReplica(t, certificates)
		r.awaitReady(t)
		join(t, r.port)
		replicas = append(replicas, r)
	}
	awaitInjecting(t)
	return replicas, certificates
}

// awaitInjecting waits until the API server has seen the webhook, its replicas and its CA.
func awaitInjecting(t *testing.T) {
	t.Helper()
	namespace := server.Namespace(t, "await", labelled())
	require.Eventually(t, func() bool {
		pod, err := server.Create(context.Background(), launcher(t, namespace, "masq"), dryRun())
		return err == nil && injected(pod)
	}, 30*time.Second, 100*time.Millisecond)
}
