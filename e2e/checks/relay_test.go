package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// relayPod is the relay's pod on the first node.
func (w *world) relayPod(ctx context.Context) (*corev1.Pod, error) {
	return w.relayOn(ctx, w.node.Name)
}

func (w *world) relayOn(ctx context.Context, node string) (*corev1.Pod, error) {
	pods, err := w.CoreV1().Pods(cluster.Relay).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=relay"})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil && pods.Items[i].Spec.NodeName == node {
			return &pods.Items[i], nil
		}
	}
	return nil, errors.New("no relay")
}

// page is how a VM's page is asked for at the relay of its node.
func page(pod *corev1.Pod) string { return pageAt(pod.Status.HostIP, pod) }

// pageAt is how it is asked for at one of the node's addresses.
func pageAt(address string, pod *corev1.Pod) string {
	return "https://" + net.JoinHostPort(address, "9478") + "/pods/" + string(pod.UID) + "/metrics"
}

// relayClient verifies relays as Prometheus does: by the authority in the Secret, and the one name.
func (w *world) relayClient(t *testing.T) *http.Client {
	t.Helper()
	secret, err := w.CoreV1().Secrets(cluster.Relay).Get(t.Context(), "hypervisor-exporter-relay-tls", metav1.GetOptions{})
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(secret.Data["ca.crt"]))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hypervisor-exporter-relay.hypervisor-exporter-relay.svc"}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// prometheusToken is what Prometheus shows relays.
func (w *world) prometheusToken(t *testing.T) string {
	t.Helper()
	secret, err := w.CoreV1().Secrets(cluster.Relay).Get(t.Context(), "hypervisor-exporter-scraper", metav1.GetOptions{})
	require.NoError(t, err)
	return string(secret.Data["token"])
}

// ask gets a page with a token, or none, and gives status and body.
func ask(t *testing.T, client *http.Client, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }() // was only read
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}
