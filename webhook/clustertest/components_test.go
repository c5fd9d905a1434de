package clustertest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

// combined begins the name under which render knows a combination of components: "+cert-manager+direct".
const combined = "+"

// renderings are what a user may apply: the folders, and the components in any combination that makes sense. The usual run
// combines at most two; a soak combines all.
func renderings() []string {
	all := slices.Clone(installable)
	for _, components := range kustomizetest.Combinations() {
		if len(components) > 0 && (len(components) <= 2 || testkit.Soak()) {
			all = append(all, combined+strings.Join(components, combined))
		}
	}
	return all
}

// largest are the combinations to which no component can be added, and the largest with a webhook.
func largest() []string {
	var found []string
	for _, components := range kustomizetest.Combinations() {
		if !slices.ContainsFunc(kustomizetest.Components, func(other string) bool {
			return other != "admission-policy" && !slices.Contains(components, other) && !slices.ContainsFunc(kustomizetest.Excluded(other),
				func(excluded string) bool { return slices.Contains(components, excluded) })
		}) {
			found = append(found, combined+strings.Join(components, combined))
		}
	}
	return found
}

// has reports whether a folder, or a combination, is made with the component.
func has(folder, component string) bool {
	if component == "no-authorization" && folder == "overlays/relay-without-authorization" {
		return true
	}
	return folder == "overlays/"+component || slices.Contains(strings.Split(folder, combined), component)
}

// kubeletPods is the kubelet's folder of pods that a folder, or a combination, is for.
func kubeletPods(folder string) string {
	switch {
	case has(folder, "kubelet-root-k0s"):
		return "/var/lib/k0s/kubelet/pods"
	case has(folder, "kubelet-root-microk8s"):
		return "/var/snap/microk8s/common/var/lib/kubelet/pods"
	default:
		return "/var/lib/kubelet/pods"
	}
}

// The label makes OpenShift's platform Prometheus scrape a namespace. Its vendor reserves it for its own and certified
// components and supports no cluster that has it elsewhere: only those who ask for it get it.
func TestClusterMonitoringIsAsked(t *testing.T) {
	for _, folder := range renderings() {
		for _, object := range render(t, folder) {
			_, labelled := object.GetLabels()["openshift.io/cluster-monitoring"]
			require.Equal(t, has(folder, "cluster-monitoring") && object.GetKind() == "Namespace", labelled, folder)
		}
	}
}

func TestEveryComponentIsTested(t *testing.T) {
	entries, err := os.ReadDir(manifests + "/components")
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	require.ElementsMatch(t, found, kustomizetest.Components)
}

// In the documented order two components build. In the other order they make the same, or kustomize refuses them: none
// builds something else. It refuses in both orders what cannot be combined.
func TestOrderOfComponents(t *testing.T) {
	for i, first := range kustomizetest.Components {
		for _, second := range kustomizetest.Components[i+1:] {
			t.Run(first+combined+second, func(t *testing.T) {
				t.Parallel()
				listed, err := kustomizetest.With(manifests, []string{first, second}, "")
				swapped, swappedErr := kustomizetest.With(manifests, []string{second, first}, "")
				switch {
				case strings.HasPrefix(first, "kubelet-root-") && strings.HasPrefix(second, "kubelet-root-"):
					require.NoError(t, err, "the last wins")
				case slices.Contains(kustomizetest.Excluded(first), second):
					require.Error(t, err)
					require.Error(t, swappedErr)
				default:
					require.NoError(t, err)
					if swappedErr == nil {
						require.ElementsMatch(t, listed, swapped)
					}
				}
			})
		}
	}
}
