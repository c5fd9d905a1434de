package apiservertest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// Definitions are CustomResourceDefinitions of other projects: a Go module, and the files in it.
type Definitions struct{ module, files string }

// The version of cert-manager is in this list; the Prometheus operator's is the one that
// webhook/clustertest/operatorconfig makes configurations with.
var (
	CertManager      = Definitions{"github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_*.yaml"}
	PodMonitors      = operatorDefinitions("podmonitors")
	PrometheusRules  = operatorDefinitions("prometheusrules")
	Prometheuses     = operatorDefinitions("prometheuses")
	PrometheusAgents = operatorDefinitions("prometheusagents")
	ThanosRulers     = operatorDefinitions("thanosrulers")
)

// OperatorKinds are all kinds of the Prometheus operator, without which it does not run.
var OperatorKinds = operatorDefinitions("*")

func operatorDefinitions(resource string) Definitions {
	return Definitions{
		"github.com/prometheus-operator/prometheus-operator",
		"example/prometheus-operator-crd/monitoring.coreos.com_" + resource + ".yaml",
	}
}

// Define makes the API server serve other projects' resources. The modules are downloaded, and checked as Go checks all of them.
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
		testkit.Eventually(t, func() error {
			stored, err := s.Get(t.Context(), object)
			if err == nil && !established(stored) {
				return fmt.Errorf("%s is not served yet", object.GetName())
			}
			return err
		})
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

// Undefine deletes definitions and waits until they are gone.
func (s *Server) Undefine(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
		}}
		require.NoError(t, s.Delete(t.Context(), definition))
		testkit.Eventually(t, func() error {
			_, err := s.Get(t.Context(), definition)
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s is still there: %w", name, err)
			}
			return nil
		})
	}
}
