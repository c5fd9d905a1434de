package checks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kube-state-metrics tells the rules what Prometheus sees of no VM: which namespaces ask for sidecars, also where not
// one VM has any, and which VMs want none. So the alert is about the one VM that was started too early, and not about
// the one beside it that opted out, and it ends when the namespace no longer asks.
func TestKubeStateMetrics(t *testing.T) {
	t.Parallel()
	w := connect(t)
	const namespace = "kube-state"
	require.NoError(t, w.Namespace(t.Context(), namespace, nil))
	early := vm{namespace: namespace, name: "too-early"}
	out := vm{namespace: namespace, name: "wants-none", annotations: map[string]string{inject: "false"}}
	w.create(t, out)
	w.start(t, early)
	w.awaitRunning(t, out)
	require.NoError(t, w.Namespace(t.Context(), namespace, map[string]string{inject: "enabled"}))
	w.awaitSeries(t, fmt.Sprintf(`kube_namespace_labels{namespace=%q,label_hypervisor_exporter_kubevirt_io_inject="enabled"}`, namespace))
	w.awaitSeries(t, fmt.Sprintf(`kube_pod_annotations{namespace=%q,annotation_hypervisor_exporter_kubevirt_io_inject="false"}`, namespace))

	alert := vmLabels(early, w.pod(t, early))
	w.awaitAlert(t, "VirtualMachineWithoutHypervisorMetric", alert)
	short, own, _, err := w.alerts(t.Context(), "VirtualMachineWithoutHypervisorMetric", vmLabels(out, w.pod(t, out)))
	require.NoError(t, err)
	require.Nil(t, short, "it opted out")
	require.Nil(t, own)
	require.NoError(t, w.Namespace(t.Context(), namespace, nil))
	w.awaitResolved(t, "VirtualMachineWithoutHypervisorMetric", alert)
}

// awaitSeries waits until the query has an answer.
func (w *world) awaitSeries(t *testing.T, query string) {
	t.Helper()
	eventually(t, time.Minute, query, func(ctx context.Context) error {
		found, err := w.Query(ctx, query)
		if err == nil && len(found) == 0 {
			err = errors.New("no series")
		}
		return err
	})
}
