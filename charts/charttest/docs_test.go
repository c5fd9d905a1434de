package charttest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	installPage = "../../docs/install.md"
	// The table stands after this heading, at the end of the page.
	valuesHeading = "## Values of the chart\n"
)

func TestInstallPageHasAllValues(t *testing.T) {
	content, err := os.ReadFile(installPage)
	require.NoError(t, err)
	before, got, found := strings.Cut(string(content), valuesHeading)
	require.True(t, found)
	var want strings.Builder
	want.WriteString("\nMade from `values.yaml` by `go test ./charts/... -run InstallPage -update`.\n\n| value | default | |\n|---|---|---|\n")
	for _, value := range documentedValues(t) {
		require.NotContains(t, value.comment+value.what, "|", "%s: it would end the cell", value.path)
		fmt.Fprintf(&want, "| `%s` | `%s` | %s |\n", value.path, value.what, value.comment)
	}
	if *update {
		require.NoError(t, os.WriteFile(installPage, []byte(before+valuesHeading+want.String()), 0o644))
		return
	}
	require.Equal(t, want.String(), got)
}
