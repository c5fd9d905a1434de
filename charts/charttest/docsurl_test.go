package charttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// Every link leads to where the user says; by default to a name that no one can own (RFC 6761).
func TestLinksLeadToTheDocsURL(t *testing.T) {
	usual, err := client.template(t.Context())
	require.NoError(t, err)
	require.Contains(t, rules.Docs, ".invalid/")
	links := strings.Count(usual, rules.Docs)
	require.Greater(t, links, len(rules.Alerts()), "one for each alert, and the dashboard's")

	const own = "https://docs.example.com/hv"
	output, err := client.template(t.Context(), "--set=monitoring.docsURL="+own)
	require.NoError(t, err)
	require.NotContains(t, output, ".invalid/docs")
	require.Equal(t, links, strings.Count(output, own+"/runbooks/"))
}
