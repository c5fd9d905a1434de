package rules

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const header = "# Generated from monitoring/rules by: go test ./monitoring/rules -update\n"

// inNamespace returns the PrometheusRules of one folder: an overlay leaves out the objects of what it does not install.
func inNamespace(namespace string) ([]byte, error) {
	others := func(c Component) bool { return c.Namespace != namespace }
	content, err := PrometheusRules(slices.DeleteFunc(Components(), others))
	return append([]byte(header), content...), err
}

const alertsPage = "../../docs/alerts.md"

var update = flag.Bool("update", false, "write the generated files")

func TestGeneratedFiles(t *testing.T) {
	page, err := os.ReadFile(alertsPage)
	require.NoError(t, err)
	for path, render := range map[string]func() ([]byte, error){
		"../../manifests/monitoring/prometheusrule.yaml":       func() ([]byte, error) { return inNamespace(productNamespace) },
		"../../manifests/relay/monitoring/prometheusrule.yaml": func() ([]byte, error) { return inNamespace(relayNamespace) },
		"../../manifests/without-exporter/prometheusrule.yaml": func() ([]byte, error) {
			content, err := PrometheusRules([]Component{WithoutExporter()})
			return append([]byte(header), content...), err
		},
		alertsPage: func() ([]byte, error) { return Document(page), nil },
	} {
		got, err := render()
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, string(want) == string(got), "%s is stale; write it with: go test ./monitoring/rules -update", path)
	}
}

// The command in docs/alerts.md makes a rules file that has all groups.
func TestRulesFileCommand(t *testing.T) {
	page, err := os.ReadFile(alertsPage)
	require.NoError(t, err)
	command := regexp.MustCompile(`\n(\{ echo groups:.*\}) > rules.yaml\n`).FindSubmatch(page)
	require.NotNil(t, command)
	shell := exec.Command("sh", "-c", string(command[1]))
	shell.Dir = "../.."
	output, err := shell.Output()
	require.NoError(t, err)
	content, err := RulesFile(Components())
	require.NoError(t, err)
	var want, got any
	require.NoError(t, yaml.Unmarshal(content, &want))
	require.NoError(t, yaml.Unmarshal(output, &got))
	require.Equal(t, want, got)
}
