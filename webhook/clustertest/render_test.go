package clustertest

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

const (
	manifests         = "../../manifests"
	productNamespace  = "hypervisor-exporter"
	relayNamespace    = "hypervisor-exporter-relay"
	configurationName = "hypervisor-exporter"
	serviceName       = "hypervisor-exporter-webhook"
	certsName         = "hypervisor-exporter-certs" // of everything that the certificate process has
)

// rendered caches what render has rendered: it takes most of a second.
var rendered sync.Map

// render returns what `kubectl apply -k` of the folder, relative to manifests, would send.
func render(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	cached, found := rendered.Load(folder)
	if !found {
		cached, _ = rendered.LoadOrStore(folder, renderFolder(t, filepath.Join(manifests, folder)))
	}
	var objects []*unstructured.Unstructured
	for _, object := range cached.([]*unstructured.Unstructured) {
		objects = append(objects, object.DeepCopy())
	}
	return objects
}

// renderFolder renders a folder that may be anywhere.
func renderFolder(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	require.NoError(t, err)
	content, err := resources.AsYaml()
	require.NoError(t, err)
	objects, err := apiservertest.Objects(bytes.NewReader(content))
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
