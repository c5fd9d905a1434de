package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a VM's owner writes into its template neither names another VM nor hides this one: KubeVirt copies it to the pod,
// kubevirt.io/domain over its own value.
func TestNames(t *testing.T) {
	t.Parallel()
	w := connect(t)
	const vmiAnnotation = "hypervisor-exporter.kubevirt.io/vmi"
	web := vm{namespace: labelled, name: "names-web"}
	forged := vm{namespace: labelled, name: "names-forged",
		annotations: map[string]string{"kubevirt.io/domain": web.name, vmiAnnotation: web.name},
		labels:      map[string]string{"kubevirt-io": "x"}, // the same Prometheus label as kubevirt.io
	}
	nonsense := vm{namespace: labelled, name: "names-nonsense", annotations: map[string]string{"kubevirt.io/domain": "My VM"}}
	all := []vm{web, forged, nonsense}
	w.startAll(t, all)
	for _, v := range all {
		pod := w.pod(t, v)
		found := w.awaitInfo(t, v)
		require.Equal(t, pod.Name, found.Metric["pod"], "%s has its own series, and that alone", v.name)
		require.Equal(t, "kvm", found.Metric["hypervisor_type"])
		require.Equal(t, v.name, pod.Annotations[vmiAnnotation])
		valid, err := w.sidecarMetric(t.Context(), v, "hypervisor_exporter_identity_valid")
		require.NoError(t, err)
		require.Equal(t, 1.0, valid)
	}
	w.requireTold(t, nonsense, "kvm")
	// KubeVirt let the forged value win, so that the above says something.
	require.Equal(t, web.name, w.pod(t, forged).Annotations["kubevirt.io/domain"])
}
