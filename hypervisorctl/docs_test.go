package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What docs/hypervisorctl.md shows was printed by the tests.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	docs, err := os.ReadFile("../docs/hypervisorctl.md")
	require.NoError(t, err)
	for _, name := range []string{"list-table", "check-troubles", "explain-emulated"} {
		printed, err := os.ReadFile("testdata/golden/" + name + ".txt")
		require.NoError(t, err)
		require.Contains(t, string(docs), strings.TrimSpace(string(printed)), name)
	}
}
