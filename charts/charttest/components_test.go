package charttest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

// valuesOf are the values of the chart that do what a component does.
func valuesOf(component string) []string {
	switch component {
	case "openshift", "cluster-monitoring": // the chart has one value for both
		return []string{"openshift=true"}
	case "priority-class":
		return []string{"webhook.priorityClassName=hypervisor-exporter", "certificates.priorityClassName=hypervisor-exporter"}
	case "kubelet-root-k0s":
		return []string{"relay.kubeletPodsDir=/var/lib/k0s/kubelet/pods"}
	case "kubelet-root-microk8s":
		return []string{"relay.kubeletPodsDir=/var/snap/microk8s/common/var/lib/kubelet/pods"}
	case "no-authorization":
		component = "relay-without-authorization"
	}
	for _, installation := range installations {
		if installation.folder == "overlays/"+component {
			return installation.set
		}
	}
	return nil
}

// Any combination of components makes what the chart makes with the values of each. The usual run combines at most two;
// a soak combines all.
func TestChartMakesWhatComponentsMake(t *testing.T) {
	for _, components := range kustomizetest.Combinations() {
		if len(components) > 2 && !testkit.Soak() {
			continue
		}
		name := strings.Join(components, "+")
		if strings.Contains(name, "openshift") != strings.Contains(name, "cluster-monitoring") {
			continue // the chart has no value for one of them
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := kustomizetest.With(manifests, components, "")
			require.NoError(t, err)
			objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return onlyKustomize(components, o) })
			var flags []string
			for _, component := range components {
				set := valuesOf(component)
				require.NotEmpty(t, set, component)
				flags = append(flags, installation{set: set}.flags()...)
			}
			requireSame(t, objects, render(t, flags...))
		})
	}
}

// onlyKustomize reports whether the chart leaves the object out.
func onlyKustomize(components []string, object *unstructured.Unstructured) bool {
	if object.GetKind() == "PodMonitor" && object.GetName() == "hypervisor-exporter-webhook" {
		// It selects webhook and certificate process. A component does not know whether another has taken away the other.
		return slices.Contains(components, "admission-policy") && slices.Contains(components, "cert-manager")
	}
	return object.GetKind() == "PriorityClass" // the chart names one that exists
}
