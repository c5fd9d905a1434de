package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// Somebody asks the webhook who is not the API server, and in no way that it can answer: that is told.
func TestWebhookAsked(t *testing.T) {
	t.Parallel()
	w := connect(t)
	service, err := w.CoreV1().Services(cluster.Product).Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	output, err := w.node.Run(t.Context(), "curl", "-sk", "-m", "10", "-w", "%{http_code}", "https://"+service.Spec.ClusterIP+"/mutate")
	require.NoError(t, err, output)
	require.Contains(t, output, "405")
	reason := map[string]string{"reason": "wrong_method"}
	w.awaitAlert(t, "HypervisorExporterWebhookErrors", reason)
	w.awaitResolved(t, "HypervisorExporterWebhookErrors", reason)
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
