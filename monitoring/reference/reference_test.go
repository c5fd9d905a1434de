// Package reference writes the tables of the reference pages in docs/ from what the programs themselves say: their
// metrics, their --help, and their lists of reasons.
package reference

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

var update = flag.Bool("update", false, "write the generated tables")

const root = "../../"

// binaries is the folder with the programs.
var binaries string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	var err error
	if binaries, err = os.MkdirTemp("", "reference-"); err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	programs := []string{"./sidecar", "./sidecar/supervisor", "./relay", "./webhook", "./hypervisorctl"}
	if err := testkit.Build(context.Background(), binaries, programs...); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func binary(name string) string { return filepath.Join(binaries, name) }

var block = regexp.MustCompile(`(?s)(<!-- BEGIN generated (\w+): [^\n]* -->\n).*?(<!-- END generated -->\n)`)

// requireTables rewrites the page's generated blocks with -update, and otherwise fails if one of them is stale.
func requireTables(t *testing.T, page string, tables map[string]string) {
	t.Helper()
	old, err := os.ReadFile(root + page)
	require.NoError(t, err)
	found := map[string]bool{}
	current := block.ReplaceAllStringFunc(string(old), func(text string) string {
		match := block.FindStringSubmatch(text)
		table, known := tables[match[2]]
		require.True(t, known, "%s: nothing generates the block %s", page, match[2])
		found[match[2]] = true
		return match[1] + table + match[3]
	})
	for name := range tables {
		require.True(t, found[name], "%s has no block %s", page, name)
	}
	if *update {
		require.NoError(t, os.WriteFile(root+page, []byte(current), 0o644))
		return
	}
	require.True(t, current == string(old), "%s is stale; write it with: go test ./monitoring/reference -update", page)
}

// table is a table of Markdown.
func table(header string, rows [][]string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "| %s |\n|%s\n", header, strings.Repeat("---|", strings.Count(header, "|")+1))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(strings.ReplaceAll(row[i], "\n", " "), "|", `\|`)
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
	}
	return out.String()
}

// code is a word in Markdown's code font; empty stays empty.
func code(word string) string {
	if word == "" {
		return ""
	}
	return "`" + word + "`"
}
