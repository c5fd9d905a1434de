package charttest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

const (
	installPage = "../../docs/install.md"
	readme      = chart + "/README.md"
	// The table is after this line, at the end of the README.
	beforeValues = "`go test ./charts/... -run Values -update`.\n"
)

func TestReadmeHasAllValues(t *testing.T) {
	content, err := os.ReadFile(readme)
	require.NoError(t, err)
	before, got, found := strings.Cut(string(content), beforeValues)
	require.True(t, found)
	var want strings.Builder
	want.WriteString("\n| value | default | |\n|---|---|---|\n")
	for _, value := range documentedValues(t) {
		require.NotContains(t, value.comment+value.what, "|", "%s: it would end the cell", value.path)
		fmt.Fprintf(&want, "| `%s` | `%s` | %s |\n", value.path, value.what, value.comment)
	}
	if *update {
		require.NoError(t, os.WriteFile(readme, []byte(before+beforeValues+want.String()), 0o644))
		return
	}
	require.Equal(t, want.String(), got)
}

// Every link leads to the URL of the values; by default to a name that no one can register (RFC 6761).
func TestLinksLeadToTheDocsURL(t *testing.T) {
	usual, err := client.template(t.Context())
	require.NoError(t, err)
	require.Contains(t, rules.Docs, ".invalid/")
	links := strings.Count(usual, rules.Docs)
	require.Greater(t, links, len(rules.Alerts())-len(rules.WithoutExporter().Groups[0].Alerts), "one for each alert, and those of the dashboard")

	const own = "https://docs.example.com/hv"
	output, err := client.template(t.Context(), "--set=monitoring.docsURL="+own)
	require.NoError(t, err)
	require.NotContains(t, output, ".invalid/docs")
	require.Equal(t, links, strings.Count(output, own+"/"))
}
