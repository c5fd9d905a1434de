package charttest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/webhook/apiservertest"
)

// others' modules, with where the definitions of their resources lie. The Prometheus operator's version is the one that
// clustertest makes configurations with.
var definitions = []struct{ module, files string }{
	{"github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_*.yaml"},
	{"github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"},
	{"github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"},
}

// defineOthersResources makes the API server know the resources of the Prometheus operator and of cert-manager.
func defineOthersResources(t *testing.T) {
	t.Helper()
	for _, definition := range definitions {
		files, err := filepath.Glob(filepath.Join(moduleFolder(t, definition.module), definition.files))
		require.NoError(t, err)
		require.NotEmpty(t, files, definition.module)
		for _, file := range files {
			define(t, file)
		}
	}
}

// moduleFolder downloads a Go module, checked as Go checks all of them, and returns where it lies.
func moduleFolder(t *testing.T, module string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	command.Dir = "../../webhook/clustertest/operatorconfig"
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := command.Output()
	require.NoError(t, err, "%s: %s", module, output)
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal(output, &downloaded))
	return downloaded.Dir
}

// define applies the definition of a resource and waits until it is served.
func define(t *testing.T, file string) {
	t.Helper()
	content, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = content.Close() }()
	objects, err := apiservertest.Objects(content)
	require.NoError(t, err)
	for _, object := range objects {
		require.NoError(t, server.Apply(t.Context(), object))
		require.Eventually(t, func() bool {
			stored, err := server.Get(t.Context(), object)
			return err == nil && established(stored)
		}, time.Minute, 100*time.Millisecond)
	}
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, condition := range conditions {
		if c, ok := condition.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}
