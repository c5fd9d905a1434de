package clustertest

import (
	"context"
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

// The modules from which the definitions of others' resources are taken, and where they lie in them.
const (
	certManager        = "github.com/cert-manager/cert-manager@v1.21.2"
	certManagerCRDs    = "deploy/crds/cert-manager.io_*.yaml"
	prometheusOperator = "github.com/prometheus-operator/prometheus-operator" // the version of operatorconfig/go.mod
	podMonitorCRDs     = "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
	ruleCRDs           = "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"
)

// defineOthersResources makes the API server know the resources of the Prometheus operator and of cert-manager.
func defineOthersResources(t *testing.T) {
	t.Helper()
	for _, module := range []struct{ name, files string }{
		{certManager, certManagerCRDs},
		{prometheusOperator, podMonitorCRDs},
		{prometheusOperator, ruleCRDs},
	} {
		files, err := filepath.Glob(filepath.Join(moduleFolder(t, module.name), module.files))
		require.NoError(t, err)
		require.NotEmpty(t, files, "definitions of %s", module.name)
		for _, file := range files {
			define(t, file)
		}
	}
}

// define applies the definition of a resource and waits until it is served.
func define(t *testing.T, file string) {
	t.Helper()
	for _, object := range readObjects(t, file) {
		require.NoError(t, server.Apply(t.Context(), object))
		require.Eventually(t, func() bool { return established(t.Context(), object) }, 30*time.Second, 50*time.Millisecond)
	}
}

func established(ctx context.Context, definition *unstructured.Unstructured) bool {
	stored, err := server.Get(ctx, definition)
	if err != nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(stored.Object, "status", "conditions")
	for _, condition := range conditions {
		if c, ok := condition.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// moduleFolder downloads a Go module, checked as Go checks all of them, and returns where it lies.
func moduleFolder(t *testing.T, module string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	command.Dir = "operatorconfig"
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := command.Output()
	require.NoError(t, err, "%s: %s", module, output)
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal(output, &downloaded))
	return downloaded.Dir
}

func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = content.Close() }()
	objects, err := apiservertest.Objects(content)
	require.NoError(t, err)
	return objects
}
