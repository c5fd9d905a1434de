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
	case "cluster-monitoring":
		return []string{"monitoring.openshiftPlatform=true"}
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
	eachCombination(t, 2, func(t *testing.T, components []string) {
		requireChartMakes(t, usualNamespace, components, "")
	})
}

// So it is in other namespaces, with the lines of docs/install.md.
func TestChartMakesWhatComponentsMakeElsewhere(t *testing.T) {
	eachCombination(t, 1, func(t *testing.T, components []string) {
		rename := `patches:
- target: {kind: Namespace, name: hypervisor-exporter}
  patch: '[{"op": "replace", "path": "/metadata/name", "value": "elsewhere"}]'
- target: {kind: Namespace, name: hypervisor-exporter-relay}
  patch: '[{"op": "replace", "path": "/metadata/name", "value": "elsewhere-relay"}]'
`
		if !slices.Contains(components, "direct") {
			requireChartMakes(t, elsewhere, components, rename+"transformers: [MANIFESTS/settings/namespaces]\n")
			return
		}
		for _, way := range []string{rename, "namespace: elsewhere\n"} {
			requireChartMakes(t, elsewhere, components, way+"transformers: [MANIFESTS/settings/namespaces/webhook]\n")
		}
	})
}

// eachCombination calls check with each combination of at most so many components, and in a soak with every one.
func eachCombination(t *testing.T, most int, check func(t *testing.T, components []string)) {
	t.Helper()
	for _, components := range kustomizetest.Combinations() {
		name := strings.Join(components, "+")
		if len(components) <= most || testkit.Soak() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(t, components)
			})
		}
	}
}

// requireChartMakes compares a user's folder that lists the components, followed by more lines, with the chart.
func requireChartMakes(t *testing.T, namespace string, components []string, more string) {
	t.Helper()
	objects, err := kustomizetest.With(manifests, components, more)
	require.NoError(t, err)
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return onlyKustomize(components, o) })
	flags := []string{"--namespace=" + namespace}
	if slices.Contains(components, "direct") { // the webhook leaves out the relay's namespace, whether it is there or not
		flags = append(flags, "--set=relay.namespace.name="+usualNamespace+"-relay")
	}
	for _, component := range components {
		set := valuesOf(component)
		require.NotEmpty(t, set, component)
		flags = append(flags, installation{set: set}.flags()...)
	}
	requireSame(t, namespace, objects, render(t, flags...))
}

// onlyKustomize reports whether the chart leaves the object out.
func onlyKustomize(components []string, object *unstructured.Unstructured) bool {
	if object.GetKind() == "PodMonitor" && object.GetName() == "hypervisor-exporter-webhook" {
		// It selects webhook and certificate process. A component does not know whether another has taken away the other.
		return slices.Contains(components, "admission-policy") && slices.Contains(components, "cert-manager")
	}
	return object.GetKind() == "PriorityClass" // the chart names one that exists
}
