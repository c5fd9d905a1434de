package clustertest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

// Around any combination, the documented line carries a user's image to where it is injected.
func TestCombinationsInjectTheImage(t *testing.T) {
	image := userImages["tag"]
	for _, folder := range renderings() {
		if strings.HasPrefix(folder, combined) {
			t.Run(folder, func(t *testing.T) {
				t.Parallel()
				requireInjected(t, folder, around(t, folder, images(unsetImage, image.set)+recipe(folder)), image.injected)
			})
		}
	}
}

// A user's labels leave each selector with the pods that it had.
func TestLabelsOfOnesOwn(t *testing.T) {
	want := selections(t, render(t, "."))
	require.Len(t, want, 12)
	for _, text := range []string{
		"labels: [{pairs: {team: virtualization}}]\n",
		"labels: [{pairs: {team: virtualization}, includeTemplates: true}]\n",
		"commonLabels: {team: virtualization}\n",
	} {
		require.Equal(t, want, selections(t, around(t, ".", text)), text)
	}
}

// selections are the names of our workloads whose pods each selector selects, by the object that has it.
func selections(t *testing.T, objects []*unstructured.Unstructured) map[string][]string {
	t.Helper()
	selected := map[string][]string{}
	for _, object := range objects {
		path := []string{"spec", "selector"}
		if object.GetKind() == "NetworkPolicy" {
			path = []string{"spec", "podSelector"}
		}
		content, found, err := unstructured.NestedMap(object.Object, path...)
		require.NoError(t, err)
		if !found {
			continue
		}
		if object.GetKind() == "Service" {
			content = map[string]any{"matchLabels": content}
		}
		selector := decode[metav1.LabelSelector](t, &unstructured.Unstructured{Object: content})
		key := object.GetKind() + " " + object.GetName()
		selected[key] = nil
		for _, workload := range workloads(objects) {
			if workload.GetNamespace() == object.GetNamespace() && selects(t, &selector, podOf(t, workload)) {
				selected[key] = append(selected[key], workload.GetName())
			}
		}
	}
	return selected
}

// The patch in docs/platforms.md makes the Cluster Observability Operator read all that the Prometheus operator would.
func TestDocumentedObservabilityOperator(t *testing.T) {
	blocks := yamlBlock.FindAllStringSubmatch(readFile(t, "../../docs/platforms.md"), -1)
	require.Len(t, blocks, 2) // the other: TestMonitorOfOneNamespace
	moved := around(t, ".", blocks[0][1])
	for _, object := range moved {
		if object.GetAPIVersion() == "monitoring.rhobs/v1" {
			object.SetAPIVersion("monitoring.coreos.com/v1")
		} else {
			require.NotContains(t, object.GetAPIVersion(), "monitoring.")
		}
	}
	require.ElementsMatch(t, render(t, "."), moved, "nothing else changes")
}

// docs/install.md lists the components in their order, with what each excludes.
func TestDocumentedComponents(t *testing.T) {
	page := readFile(t, installPage)
	end := 0
	for _, component := range kustomizetest.Components {
		row := regexp.MustCompile("(?m)^\\| `" + component + "` \\| .* \\| (.*)\\|$").FindStringSubmatchIndex(page)
		require.NotNil(t, row, component)
		require.Greater(t, row[0], end, component)
		end = row[1]
		var excluded []string
		for _, name := range regexp.MustCompile("`(.*?)`").FindAllStringSubmatch(page[row[2]:row[3]], -1) {
			excluded = append(excluded, name[1])
		}
		require.Equal(t, kustomizetest.Excluded(component), excluded, component)
	}
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
