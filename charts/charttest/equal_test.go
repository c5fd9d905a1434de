package charttest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

// installation is a folder of manifests that a user may apply, and the equivalent values of the chart.
type installation struct {
	folder string
	set    []string
}

var installations = []installation{
	{".", nil},
	{"overlays/admission-policy", []string{"injector=admissionPolicy"}},
	{"overlays/cert-manager", []string{"certificates.source=certManager"}},
	{"overlays/direct", []string{"exposure=direct"}},
	{"overlays/host-network", []string{"relay.hostNetwork=true"}},
	{"overlays/openshift", []string{"openshift=true"}},
	{"overlays/relay-without-authorization", []string{"relay.authorization=none"}},
	{"overlays/without-prometheus-operator", []string{
		"monitoring.podMonitors.enabled=false", "monitoring.prometheusRule.enabled=false", "monitoring.dashboard.enabled=false",
	}},
}

// flags returns the installation's values as flags of helm.
func (i installation) flags() []string {
	var flags []string
	for _, set := range i.set {
		flags = append(flags, "--set="+set)
	}
	return flags
}

func TestEveryOverlayHasItsValues(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(manifests, "overlays", "*"))
	require.NoError(t, err)
	want, got := []string{"."}, []string{}
	for _, overlay := range overlays {
		want = append(want, "overlays/"+filepath.Base(overlay))
	}
	for _, installation := range installations {
		got = append(got, installation.folder)
	}
	require.Equal(t, want, got)
}

// Object by object and field by field. Only kustomize also makes the release's namespace, which helm requires to exist.
func TestChartMakesWhatKustomizeMakes(t *testing.T) {
	for _, installation := range installations {
		t.Run(installation.folder, func(t *testing.T) {
			objects := kustomize(t, installation.folder)
			requireSame(t, usualNamespace, objects, render(t, installation.flags()...))
		})
	}
}

func TestInstallPageNamesTheValuesOfComponents(t *testing.T) {
	page, err := os.ReadFile(installPage)
	require.NoError(t, err)
	for _, installation := range installations {
		if installation.set != nil {
			flags := strings.ReplaceAll(strings.Join(installation.flags(), " "), "--set=", "--set ")
			component := strings.Replace(filepath.Base(installation.folder), "relay-without-authorization", "no-authorization", 1)
			require.Contains(t, string(page), "| `"+component+"` | `"+flags+"` |")
		}
	}
}

// requireSame compares what kustomize makes with what the chart makes in the namespace.
func requireSame(t *testing.T, namespace string, kustomized, rendered []*unstructured.Unstructured) {
	t.Helper()
	for _, object := range kustomized {
		fixPolicy(t, object)
	}
	want := byIdentity(t, kustomized)
	require.Contains(t, want, "v1 Namespace "+namespace)
	delete(want, "v1 Namespace "+namespace)
	for _, object := range rendered {
		removeReleaseLabels(t, object)
	}
	got := byIdentity(t, rendered)
	require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	for identity := range want {
		require.Equal(t, want[identity], got[identity], identity)
	}
}

// removeReleaseLabels removes the labels that only Helm's objects have. Each object must have them, and no selector has.
func removeReleaseLabels(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	labels := object.GetLabels()
	for _, name := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
		require.NotEmpty(t, labels[name], "%s %s: %s", object.GetKind(), object.GetName(), name)
		delete(labels, name)
	}
	object.SetLabels(labels)
}

// kustomize returns what `kubectl apply -k` of the folder would send.
func kustomize(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := kustomizetest.Render(filepath.Join(manifests, folder))
	require.NoError(t, err)
	return objects
}

// fixPolicy undoes what kustomize does to the admission policy by accident.
func fixPolicy(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetKind() != "MutatingAdmissionPolicy" {
		return
	}
	object.Object = mapTexts(object.Object, func(text string) string {
		// In folded text it doubles the end of a line before one that is indented (kyaml v0.21.2). CEL does not mind.
		return strings.ReplaceAll(text, "\n\n", "\n")
	}).(map[string]any)
}

// mapTexts returns the value with f applied to each text in it.
func mapTexts(value any, f func(string) string) any {
	switch value := value.(type) {
	case string:
		return f(value)
	case []any:
		for i, element := range value {
			value[i] = mapTexts(element, f)
		}
	case map[string]any:
		for key, element := range value {
			value[key] = mapTexts(element, f)
		}
	}
	return value
}

// byIdentity returns each object's YAML, with sorted fields, by kind, namespace and name.
func byIdentity(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, object := range objects {
		identity := strings.Join(strings.Fields(strings.Join(
			[]string{object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}, " ")), " ")
		require.NotContains(t, texts, identity, "made twice")
		text, err := yaml.Marshal(object.Object)
		require.NoError(t, err)
		texts[identity] = string(text)
	}
	return texts
}
