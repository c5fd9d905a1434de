package clustertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

const (
	manifests         = "../../manifests"
	productNamespace  = "hypervisor-exporter"
	relayNamespace    = "hypervisor-exporter-relay"
	configurationName = "hypervisor-exporter"
	serviceName       = "hypervisor-exporter-webhook"
	relayName         = "hypervisor-exporter-relay" // of everything that the relay has
	certsName         = "hypervisor-exporter-certs" // of everything that the certificate process has
)

// rendered caches what render has rendered: many tests read the same.
var rendered sync.Map

// render returns what `kubectl apply -k` of the folder or combination would send.
func render(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	cached, found := rendered.Load(folder)
	if !found {
		cached, _ = rendered.LoadOrStore(folder, renderNamed(t, folder))
	}
	var objects []*unstructured.Unstructured
	for _, object := range cached.([]*unstructured.Unstructured) {
		objects = append(objects, object.DeepCopy())
	}
	return objects
}

// renderNamed renders a folder, relative to manifests, or a combination of components.
func renderNamed(t *testing.T, name string) []*unstructured.Unstructured {
	t.Helper()
	if strings.HasPrefix(name, combined) {
		return around(t, name, "")
	}
	return renderFolder(t, filepath.Join(manifests, name))
}

// renderFolder renders a folder that may be anywhere.
func renderFolder(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := kustomizetest.Render(folder)
	require.NoError(t, err)
	return objects
}

// find returns the one object of that kind and name.
func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	require.Failf(t, "not rendered", "%s %s", kind, name)
	return nil
}

// workloads are the objects that make pods.
func workloads(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(objects), func(object *unstructured.Unstructured) bool { return !isWorkload(object) })
}

// isWorkload reports whether the object makes pods.
func isWorkload(object *unstructured.Unstructured) bool {
	return object.GetKind() == "Deployment" || object.GetKind() == "DaemonSet"
}

// decode returns the object as its Go type; an unknown field fails the test.
func decode[T any](t *testing.T, object *unstructured.Unstructured) T {
	t.Helper()
	var typed T
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &typed, true))
	return typed
}

// recipe is the line that docs/install.md asks for in a folder around the manifests.
func recipe(folder string) string {
	switch {
	case has(folder, "direct"):
		return "transformers: [MANIFESTS/settings/webhook]\n"
	case has(folder, "admission-policy"):
		return "transformers: [MANIFESTS/settings/admission-policy, MANIFESTS/settings/relay]\n"
	default:
		return "transformers: [MANIFESTS/settings/webhook, MANIFESTS/settings/relay]\n"
	}
}

// around renders a user's folder around one of the manifests', or with a combination of components. MANIFESTS in the text
// becomes the path to them.
func around(t *testing.T, folder, text string) []*unstructured.Unstructured {
	t.Helper()
	if components, found := strings.CutPrefix(folder, combined); found {
		objects, err := kustomizetest.With(manifests, strings.Split(components, combined), text)
		require.NoError(t, err)
		return objects
	}
	objects, err := kustomizetest.Around(manifests, "resources: ["+filepath.Join("MANIFESTS", folder)+"]\n"+text)
	require.NoError(t, err)
	return objects
}

func copyManifests(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "manifests")
	require.NoError(t, os.CopyFS(dir, os.DirFS(manifests)))
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}
