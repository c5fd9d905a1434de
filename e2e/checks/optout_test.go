package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Who does not want a sidecar, or could not use one, has none.
func TestNoSidecar(t *testing.T) {
	w := connect(t)
	for _, v := range []vm{
		{namespace: labelled, name: "opted-out", annotations: map[string]string{inject: "false"}, nowhere: true},
		{namespace: plain, name: "unlabelled", nowhere: true},
	} {
		w.create(t, v)
		require.False(t, hasSidecar(w.pod(t, v)), "a sidecar in the pod of %s/%s", v.namespace, v.name)
	}
	wanted := vm{namespace: labelled, name: "wanted", nowhere: true}
	w.create(t, wanted)
	pod := w.pod(t, wanted)
	require.True(t, hasSidecar(pod), "the same VM without the annotation has one, so that the above says something")

	// Pods as KubeVirt 1.9 makes them for a disk that is plugged in, and to hold a place (template.go), from a genuine
	// virt-launcher pod.
	for name, change := range map[string]func(*corev1.Pod){
		"hotplug":      func(p *corev1.Pod) { p.Labels["kubevirt.io"] = "hotplug-disk" },
		"provisioning": func(p *corev1.Pod) { p.Annotations["kubevirt.io/ephemeral-provisioning"] = "" },
		"ordinary":     func(p *corev1.Pod) { delete(p.Labels, "kubevirt.io") },
	} {
		like := w.pod(t, wanted)
		like.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: labelled, Labels: like.Labels, Annotations: like.Annotations}
		like.Spec.InitContainers = nil
		like.Spec.Volumes = withoutTokens(like.Spec.Volumes)
		change(like)
		made, err := w.CoreV1().Pods(labelled).Create(t.Context(), like, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err, name)
		require.False(t, hasSidecar(made), "a sidecar in a pod of kind %s", name)
	}
}

func withoutTokens(volumes []corev1.Volume) []corev1.Volume {
	var kept []corev1.Volume
	for _, v := range volumes {
		if v.Projected == nil {
			kept = append(kept, v)
		}
	}
	return kept
}
