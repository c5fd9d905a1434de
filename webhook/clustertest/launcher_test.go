package clustertest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// launcherPods is where package inject keeps its pods: what KubeVirt made, and what was derived from it.
const launcherPods = "../inject/testdata"

// genuine are the pods among them as KubeVirt 1.9 created them.
var genuine = []string{"bridge", "dedicated", "guest-tcg", "masq", "masq-ports", "migration-target"}

// allLaunchers are the names of all pods there.
func allLaunchers(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(launcherPods, "*.yaml"))
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		if !strings.HasSuffix(file, ".golden.yaml") {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	return names
}

// launcher is a pod of launcherPods, to be created in the namespace.
func launcher(t testing.TB, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	pod := readLauncher(t, filepath.Join(launcherPods, name+".yaml"))
	pod.SetNamespace(namespace)
	return pod
}

// ofNewVM makes the pod one of another VM: to the webhook, the same VM again is a pod that was refused.
func ofNewVM(pod *unstructured.Unstructured) *unstructured.Unstructured {
	owners := pod.GetOwnerReferences()
	for i := range owners {
		owners[i].UID = uuid.NewUUID()
	}
	pod.SetOwnerReferences(owners)
	return pod
}

// injected reports whether the pod has the sidecar.
func injected(pod *unstructured.Unstructured) bool {
	containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	return slices.ContainsFunc(containers, func(container any) bool {
		return container.(map[string]any)["name"] == "hypervisor-exporter"
	})
}

// labelled is what a namespace is enabled with.
func labelled() map[string]string {
	return map[string]string{"hypervisor-exporter.kubevirt.io/inject": "enabled"}
}

func setAnnotation(pod *unstructured.Unstructured, key, value string) {
	pod.SetAnnotations(with(pod.GetAnnotations(), key, value))
}

func setLabel(pod *unstructured.Unstructured, key, value string) {
	pod.SetLabels(with(pod.GetLabels(), key, value))
}

func with(all map[string]string, key, value string) map[string]string {
	changed := map[string]string{}
	maps.Copy(changed, all)
	changed[key] = value
	return changed
}

func readLauncher(t testing.TB, file string) *unstructured.Unstructured {
	t.Helper()
	document, err := os.ReadFile(file)
	require.NoError(t, err)
	content, _, err := inject.ReadPod(document)
	require.NoError(t, err, file)
	pod := &unstructured.Unstructured{}
	require.NoError(t, pod.UnmarshalJSON(content))
	return pod
}
