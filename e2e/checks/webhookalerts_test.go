package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const webhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"

// A stranger asks the webhook in a way that it cannot answer. That is counted, and fires no alert: anyone who reaches the
// port can send such requests.
func TestWebhookAsked(t *testing.T) {
	t.Parallel()
	w := connect(t)
	w.askWrongly(t)
	eventually(t, time.Minute, "the request in the counter", func(ctx context.Context) error {
		found, err := w.Query(ctx, `sum(hypervisor_exporter_webhook_rejected_requests_total{reason="wrong_method"}) > 0`)
		if err == nil && len(found) == 0 {
			err = errors.New("it is 0")
		}
		return err
	})
	alerts, err := w.Alerts(t.Context())
	require.NoError(t, err)
	for _, alert := range alerts {
		require.NotEqual(t, "HypervisorExporterWebhookErrors", alert.Labels["alertname"], "%v", alert)
	}
}

// askWrongly sends the webhook a GET, as anyone who reaches the port can.
func (w *world) askWrongly(t *testing.T) {
	t.Helper()
	service, err := w.CoreV1().Services(cluster.Product).Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	output, err := w.node.Run(t.Context(), "curl", "-sk", "-m", "10", "-w", "%{http_code}", "https://"+net.JoinHostPort(service.Spec.ClusterIP, "443")+"/mutate")
	require.NoError(t, err, output)
	require.Contains(t, output, "405")
}

// awaitNoFormerWebhook waits until Prometheus shows no series of webhook pods that are gone. A check that uninstalled the
// product and installed it again leaves such series: a reload that removes a PodMonitor writes no stale markers.
func (w *world) awaitNoFormerWebhook(t *testing.T) {
	t.Helper()
	eventually(t, patience, "the series of former webhook pods to go", func(ctx context.Context) error {
		targets, err := w.Targets(ctx, webhookJob)
		if err != nil {
			return err
		}
		current := map[string]bool{}
		for _, target := range targets {
			current[target.Labels["pod"]] = true
		}
		found, err := w.Query(ctx, fmt.Sprintf(`hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds{job=%q}`, webhookJob))
		if err != nil {
			return err
		}
		for _, series := range found {
			if !current[series.Metric["pod"]] {
				return fmt.Errorf("%s is still there", series.Metric["pod"])
			}
		}
		return nil
	})
}

// checkGoneAlerts wants to be told that no webhook is there, that the API server goes on without it, and of the VM that has
// no sidecar for that; and no longer, once the webhook is back and the VM gone.
func (w *world) checkGoneAlerts(t *testing.T, v vm) {
	t.Helper()
	alert := vmLabels(v, w.pod(t, v))
	w.create(t, vm{namespace: labelled, name: "bypass", nowhere: true}) // the alert looks back for seconds only
	w.awaitAlert(t, "HypervisorExporterWebhookBypassed", map[string]string{})
	w.awaitAlert(t, "HypervisorExporterWebhookDown", map[string]string{})
	w.awaitAlert(t, "VirtualMachineWithoutHypervisorMetric", alert)
	w.scaleWebhook(t, 2)
	w.removeNow(t, v)
	w.awaitResolved(t, "HypervisorExporterWebhookDown", map[string]string{})
	w.awaitResolved(t, "HypervisorExporterWebhookBypassed", map[string]string{})
	w.awaitResolved(t, "VirtualMachineWithoutHypervisorMetric", alert)
}
