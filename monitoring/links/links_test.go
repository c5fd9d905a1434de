// Package links checks that the links in the repository's pages resolve, and that each alert has a runbook.
package links

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

const root = "../.."

// Each relative link of each page leads to an existing file and heading.
func TestLinksResolve(t *testing.T) {
	pages := markdownFiles(t)
	require.NotEmpty(t, pages)
	for _, path := range pages {
		for _, link := range read(t, path).Links {
			requireResolves(t, path, link)
		}
	}
}

// docs/README.md leads to each page beside it.
func TestIndexHasEachPage(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	index := map[string]bool{"README.md": true}
	for _, link := range read(t, filepath.Join(root, "docs", "README.md")).Links {
		page, _, _ := strings.Cut(link, "#")
		index[page] = true
	}
	for _, page := range pages {
		require.True(t, index[filepath.Base(page)], "docs/README.md does not list %s", page)
	}
}

// kubectl deletes the ServiceAccount hypervisor-exporter-scraper before the Secret of its token, which goes with it. Without the
// flag, kubectl then ends with NotFound and does not wait for the rest.
func TestPagesDeleteWithIgnoreNotFound(t *testing.T) {
	command := regexp.MustCompile("kubectl delete [^\\n`|&;]*(-k |-f [^\\n`|&;]*install)[^\\n`|&;]*")
	found := 0
	for _, path := range markdownFiles(t) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, line := range command.FindAllString(string(content), -1) {
			require.Contains(t, line, "--ignore-not-found", path)
			found++
		}
	}
	require.Positive(t, found)
}

func requireResolves(t *testing.T, path, link string) {
	t.Helper()
	target, err := url.Parse(link)
	require.NoError(t, err, "%s: %s", path, link)
	if target.IsAbs() {
		return // not in this repository
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

// Each alert has a runbook with all sections, and each runbook has an alert.
func TestRunbooks(t *testing.T) {
	want := map[string]bool{}
	for _, alert := range rules.Alerts() {
		path := filepath.Join(root, "docs", "runbooks", alert.Name+".md")
		runbook := read(t, path)
		for _, section := range []string{strings.ToLower(alert.Name), "what-it-means", "check", "fix"} {
			require.Contains(t, runbook.Anchors, section, path)
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
		found := parse([]byte("# " + heading + "\n"))
		require.Equal(t, map[string]bool{want: true}, found.Anchors)
	}
}

func TestReadFindsLinksInTables(t *testing.T) {
	found := parse([]byte("| a |\n|---|\n| [x](y.md#z) ![p](p.png) |\n\n```\n[not](this.md)\n```\n"))
	require.Equal(t, []string{"y.md#z", "p.png"}, found.Links)
}

func read(t *testing.T, path string) page {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return parse(content)
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

// A page has the links and anchors of a Markdown file.
type page struct {
	Links   []string        // destinations, as written
	Anchors map[string]bool // of its headings, as GitHub makes them
}

func parse(content []byte) page {
	found := page{Anchors: map[string]bool{}}
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(content))
	// The walker returns no error, so Walk does not.
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := node.(type) {
		case *ast.Link:
			found.Links = append(found.Links, string(n.Destination))
		case *ast.Image:
			found.Links = append(found.Links, string(n.Destination))
		case *ast.Heading:
			found.Anchors[anchor(plain(n, content))] = true
		}
		return ast.WalkContinue, nil
	})
	return found
}

func plain(node ast.Node, content []byte) string {
	var out bytes.Buffer
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			out.Write(t.Segment.Value(content))
		}
		return ast.WalkContinue, nil
	})
	return out.String()
}

// anchor returns GitHub's anchor of a heading: lower case, dashes for blanks, no other punctuation.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, heading)
}
