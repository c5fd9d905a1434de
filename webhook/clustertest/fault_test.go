package clustertest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Whatever is wrong with the webhook, the pod is created, after at most timeoutSeconds, and as KubeVirt meant it.
func TestVMStartsWhateverIsWrongWithTheWebhook(t *testing.T) {
	ours, foreign := newCA(t), newCA(t)
	now, expired := time.Now(), time.Now().Add(-48*time.Hour)
	faults := []struct {
		name string
		// serve starts what is wrong and returns its port; 0 for none.
		serve func(*testing.T) int
	}{
		{"not a single replica", func(*testing.T) int { return 0 }},
		{"no one listens", func(t *testing.T) int { return freePort(t) }},
		{"accepts and does not answer", silence},
		{"trickles its answer", func(t *testing.T) int { return answering(t, ours.issue(t, now), trickling) }},
		{"answers garbage", func(t *testing.T) int { return answering(t, ours.issue(t, now), saying(200, "\x00garbage")) }},
		{"answers 500", func(t *testing.T) int { return answering(t, ours.issue(t, now), saying(500, "broken")) }},
		{"certificate expired", func(t *testing.T) int { return answering(t, ours.issue(t, expired), mustNotBeCalled(t)) }},
		{"certificate of another CA", func(t *testing.T) int { return answering(t, foreign.issue(t, now), mustNotBeCalled(t)) }},
	}
	install(t, ".")
	trust(t, ours)
	timeout := find(t, render(t, "."), "MutatingWebhookConfiguration", configurationName).Object["webhooks"].([]any)[0].(map[string]any)["timeoutSeconds"]
	require.EqualValues(t, 2, timeout)
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			if port := fault.serve(t); port != 0 {
				join(t, port)
			}
			namespace := server.Namespace(t, "fault", labelled())
			awaitFailingOpen(t, namespace)

			before := failedOpen(t.Context(), t)
			stored, err := server.Create(t.Context(), launcher(t, namespace, "masq"), metav1.CreateOptions{})
			require.NoError(t, err)
			require.False(t, injected(stored))
			require.Greater(t, failedOpen(t.Context(), t), before, "the webhook was called, in vain")
		})
	}
}

// awaitFailingOpen waits until the API server has seen the webhook and calls it, in vain.
func awaitFailingOpen(t *testing.T, namespace string) {
	t.Helper()
	before := failedOpen(t.Context(), t)
	eventually(t, func() bool {
		_, err := server.Create(context.Background(), launcher(t, namespace, "masq"), dryRun())
		return err == nil && failedOpen(context.Background(), t) > before
	})
}

// trust writes the CA into the webhook's configuration, as the certificate process does.
func trust(t *testing.T, c ca) {
	t.Helper()
	setWebhook(t, "clientConfig/caBundle", c.CertPEM)
}

// answering serves HTTPS on all addresses of the machine.
func answering(t *testing.T, leaf *pki.Pair, handler http.HandlerFunc) int {
	t.Helper()
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(handler)
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some of these are for
	web.StartTLS()
	t.Cleanup(web.Close)
	return listener.Addr().(*net.TCPAddr).Port
}

// silence accepts connections, in the kernel, and never answers.
func silence(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

func trickling(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then does net/http notice that the caller has gone
	drop := time.NewTicker(100 * time.Millisecond)
	defer drop.Stop()
	for {
		select {
		case <-drop.C:
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func saying(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func mustNotBeCalled(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("the API server trusted a certificate it must not") }
}
