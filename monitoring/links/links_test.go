package links

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

const root = "../.."

// Each relative link of each page leads to a file that is there, and to a heading that it has.
func TestLinksResolve(t *testing.T) {
	pages := markdownFiles(t)
	require.NotEmpty(t, pages)
	for _, path := range pages {
		for _, link := range read(t, path).Links {
			requireResolves(t, path, link)
		}
	}
}

func requireResolves(t *testing.T, path, link string) {
	t.Helper()
	target, err := url.Parse(link)
	require.NoError(t, err, "%s: %s", path, link)
	if target.IsAbs() {
		return // what is published elsewhere cannot be asked from here
	}
	file := path
	if target.Path != "" {
		file = filepath.Join(filepath.Dir(path), target.Path)
	}
	_, err = os.Stat(file)
	require.NoError(t, err, "%s: %s leads nowhere", path, link)
	if target.Fragment != "" {
		require.Contains(t, read(t, file).Anchors, target.Fragment, "%s: %s: no such heading", path, link)
	}
}

// Each alert has its page, each page its alert, and the sections that a reader looks for.
func TestRunbooks(t *testing.T) {
	want := map[string]bool{}
	for _, alert := range rules.Alerts() {
		path := filepath.Join(root, "docs", "runbooks", alert.Name+".md")
		page := read(t, path)
		for _, section := range []string{strings.ToLower(alert.Name), "meaning", "impact", "diagnosis", "mitigation"} {
			require.Contains(t, page.Anchors, section, path)
		}
		require.Equal(t, rules.Docs+"/runbooks/"+alert.Name+".md", rules.RunbookURL(alert.Name))
		want[path] = true
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*"))
	require.NoError(t, err)
	for _, path := range pages {
		require.Contains(t, want, path, "a runbook without an alert")
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"What each failure looks like": "what-each-failure-looks-like",
		"Pod Security, SELinux":        "pod-security-selinux",
		"When `x` is there: a_b":       "when-x-is-there-a_b",
	} {
		page := Read([]byte("# " + heading + "\n"))
		require.Equal(t, map[string]bool{want: true}, page.Anchors)
	}
}

func TestReadFindsLinksInTables(t *testing.T) {
	page := Read([]byte("| a |\n|---|\n| [x](y.md#z) ![p](p.png) |\n\n```\n[not](this.md)\n```\n"))
	require.Equal(t, []string{"y.md#z", "p.png"}, page.Links)
}

func read(t *testing.T, path string) Page {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return Read(content)
}

func markdownFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return nil
	})
	require.NoError(t, err)
	return files
}
