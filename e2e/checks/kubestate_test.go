package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// kube-state-metrics gives the rules what Prometheus cannot see by itself: which namespaces ask for sidecars, also where no
// VM has one, and which VMs opted out. So the alert is about the one VM that was started too early, and not about the one
// beside it that opted out, and it ends when the namespace no longer asks.
func TestKubeStateMetrics(t *testing.T) {
	t.Parallel()
	f := connect(t)
	const namespace = "kube-state"
	require.NoError(t, f.Namespace(f.ctx, namespace, nil))
	early := vm{namespace: namespace, name: "too-early"}
	out := vm{namespace: namespace, name: "opted-out", annotations: map[string]string{inject: "false"}}
	f.start(early, out)
	f.namespace(namespace)
	f.awaitSeries(`kube_namespace_labels{namespace=%q,label_hypervisor_exporter_kubevirt_io_inject="enabled"}`, namespace)
	f.awaitSeries(`kube_pod_annotations{namespace=%q,annotation_hypervisor_exporter_kubevirt_io_inject="false"}`, namespace)

	alert := vmLabels(early, f.pod(early), "")
	f.awaitAlert("VirtualMachineWithoutHypervisorMetric", alert)
	f.requireNoAlert("VirtualMachineWithoutHypervisorMetric", vmLabels(out, f.pod(out), ""))
	require.NoError(t, f.Namespace(f.ctx, namespace, nil))
	f.awaitResolved("VirtualMachineWithoutHypervisorMetric", alert)
}
