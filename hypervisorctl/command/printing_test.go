package command

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Only the package terminal writes: a line that another package prints would not be escaped.
func TestOnlyTerminalWrites(t *testing.T) {
	forbidden := map[string][]string{
		"fmt": {"Print", "Printf", "Println", "Fprint", "Fprintf", "Fprintln"},
		"io":  {"WriteString"},
		"os":  {"Stdout", "Stderr"},
		"log": {"Print", "Printf", "Println", "Fatal", "Fatalf", "Default"},
	}
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../terminal/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		files++
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name, ok := selector.X.(*ast.Ident)
			// main passes on the two streams.
			if ok && path != "../main.go" {
				require.False(t, slices.Contains(forbidden[name.Name], selector.Sel.Name), "%s: %s.%s", path, name.Name, selector.Sel.Name)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, files, 20)
}

func TestNotes(t *testing.T) {
	require.Empty(t, notes(&List{Items: []Row{{Reason: "opted_out", ReasonText: "the VM opted out"}}}), "the column has the reason")
	rows := []Row{{Reason: notFoundOut, ReasonText: "relay: b"}, {Reason: notFoundOut, ReasonText: "relay: a"}, {Reason: notFoundOut, ReasonText: "relay: b"}}
	require.Equal(t, []string{
		"the type of 2 VMs is not known: relay: b", "the type of 1 VM is not known: relay: a",
	}, notes(&List{Items: rows}))
}
