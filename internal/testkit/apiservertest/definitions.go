package apiservertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Definitions are those of others' resources: a Go module, and the files in it.
type Definitions struct{ module, files string }

// The version of cert-manager stands here; the Prometheus operator's is the one that
// webhook/clustertest/operatorconfig makes configurations with.
var (
	CertManager     = Definitions{"github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_*.yaml"}
	PodMonitors     = operatorDefinitions("podmonitors")
	PrometheusRules = operatorDefinitions("prometheusrules")
	Prometheuses    = operatorDefinitions("prometheuses")
)

func operatorDefinitions(resource string) Definitions {
	return Definitions{
		"github.com/prometheus-operator/prometheus-operator",
		"example/prometheus-operator-crd/monitoring.coreos.com_" + resource + ".yaml",
	}
}

// Define makes the API server know others' resources. The modules are downloaded, and checked as Go checks all of them.
func (s *Server) Define(t testing.TB, all ...Definitions) {
	t.Helper()
	for _, definitions := range all {
		files, err := filepath.Glob(filepath.Join(moduleFolder(t, definitions.module), definitions.files))
		require.NoError(t, err)
		require.NotEmpty(t, files, definitions.module)
		for _, file := range files {
			s.DefineFile(t, file)
		}
	}
}

// DefineFile applies the definitions in a file and waits until they are served.
func (s *Server) DefineFile(t testing.TB, file string) {
	t.Helper()
	content, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = content.Close() }()
	objects, err := Objects(content)
	require.NoError(t, err)
	for _, object := range objects {
		require.NoError(t, s.Apply(t.Context(), object))
		require.Eventually(t, func() bool {
			stored, err := s.Get(t.Context(), object)
			return err == nil && established(stored)
		}, time.Minute, 50*time.Millisecond, object.GetName())
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

func moduleFolder(t testing.TB, module string) string {
	t.Helper()
	here, err := goCommand(t.Context(), ".", "list", "-f", "{{.Dir}}", buildPackage)
	require.NoError(t, err)
	output, err := goCommand(t.Context(), filepath.Join(here, "../../../webhook/clustertest/operatorconfig"), "mod", "download", "-json", module)
	require.NoError(t, err)
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal([]byte(output), &downloaded))
	return downloaded.Dir
}
