package checks

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/node"
)

// An image that is gone from the VM's node and cannot be pulled: running VMs go on, ready as before; a new one waits, as
// for any container's image, and starts by itself once the image is back. Its target is down, and no alert reports that:
// kube-state-metrics knows that its pod has not begun. This is why the relay's pods bring the image (TestUpgrade).
func TestImageGoneFromNode(t *testing.T) {
	f := connect(t)
	beside, v := vm{namespace: labelled, name: "image-before"}, vm{namespace: labelled, name: "image-gone"}
	f.start(beside)
	requireUntouched := f.observe(beside)
	importImage := func() {
		_, err := f.node.Import(f.ctx, node.SidecarImage)
		f.must(err)
	}
	t.Cleanup(importImage)
	f.removeImage(f.node, "kubevirt-hypervisor-exporter/sidecar")

	f.create(v)
	f.until("the kubelet to give up pulling for now", func() bool {
		waiting := f.sidecarState(v).State.Waiting
		return waiting != nil && waiting.Reason == "ImagePullBackOff"
	}, func() any { return f.sidecarState(v).State })
	pod := f.pod(v)
	f.must(f.isIn(v, "Scheduling"))
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	require.False(t, isReady(pod), "no Service has it: there is no VM yet")
	requireUntouched()

	f.awaitTarget(v, "down")
	labels := fmt.Sprintf("namespace=%q,pod=%q", pod.Namespace, pod.Name)
	f.awaitSeries(`kube_pod_status_phase{%[1]s,phase="Pending"} == 1 and on (namespace, pod)
		(max_over_time(up{%[1]s}[20s]) == 0 and count_over_time(up{%[1]s}[20s]) >= 3)`, labels) // longer than rules take to see it
	f.requireNoAlert("HypervisorExporterTargetDown", podLabels(v, pod))

	importImage()
	back := time.Now()
	f.awaitRunning(v)
	t.Logf("the VM ran %.1f s after the image was back", time.Since(back).Seconds())
}

// kube-state-metrics tells the rules what Prometheus cannot see by itself: which namespaces ask for sidecars, also where no
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
