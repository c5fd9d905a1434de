package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serveStatically installs the webhook with a certificate of a given authority that nobody renews, and two replicas.
// It returns once pods are injected, and the folder with the certificate.
func serveStatically(t *testing.T) (replicas []*replica, certificates string) {
	t.Helper()
	return serveReplicas(t, 2)
}

// serveReplicas is serveStatically with so many replicas.
func serveReplicas(t *testing.T, count int) (replicas []*replica, certificates string) {
	t.Helper()
	install(t, ".")
	ours := newAuthority(t)
	trust(t, ours)
	certificates = t.TempDir()
	certificate, key := ours.issue(t, time.Now().Add(time.Hour))
	require.NoError(t, publish(certificates, map[string][]byte{"tls.crt": certificate, "tls.key": key}))
	for range count {
		r := startReplica(t, certificates)
		r.awaitReady(t)
		join(t, r.port)
		replicas = append(replicas, r)
	}
	awaitInjecting(t)
	return replicas, certificates
}

// awaitInjecting waits until the API server has seen the webhook, its replicas and its authority.
func awaitInjecting(t *testing.T) {
	t.Helper()
	namespace := server.Namespace(t, "await", labelled())
	require.Eventually(t, func() bool {
		pod, err := server.Create(context.Background(), launcher(t, namespace, "masq"), dryRun())
		return err == nil && injected(pod)
	}, 30*time.Second, 100*time.Millisecond)
}
