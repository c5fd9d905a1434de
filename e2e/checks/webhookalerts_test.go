package checks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const webhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"

// Somebody asks the webhook who is not the API server, and in no way that it can answer: that is told.
func TestWebhookAsked(t *testing.T) {
	t.Parallel()
	w := connect(t)
	w.awaitCounters(t)
	service, err := w.CoreV1().Services(cluster.Product).Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	output, err := w.node.Run(t.Context(), "curl", "-sk", "-m", "10", "-w", "%{http_code}", "https://"+service.Spec.ClusterIP+"/mutate")
	require.NoError(t, err, output)
	require.Contains(t, output, "405")
	reason := map[string]string{"reason": "wrong_method"}
	w.awaitAlert(t, "HypervisorExporterWebhookErrors", reason)
	w.awaitResolved(t, "HypervisorExporterWebhookErrors", reason)
}

// awaitCounters waits until Prometheus has the counters of each replica. What came before would not be an increase.
func (w *world) awaitCounters(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, "the counters of each replica", func(ctx context.Context) error {
		pods, err := w.CoreV1().Pods(cluster.Product).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			found, err := w.Query(ctx, fmt.Sprintf(`hypervisor_exporter_webhook_admissions_total{pod=%q,reason="wrong_method"}`, pod.Name))
			if err == nil && len(found) == 0 {
				err = fmt.Errorf("none of %s", pod.Name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
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
