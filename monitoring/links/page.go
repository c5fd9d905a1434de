package links

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A Page is what of a Markdown file matters to links.
type Page struct {
	Links   []string        // destinations, as written
	Anchors map[string]bool // of its headings, as GitHub makes them
}

// Read reads a Markdown file.
func Read(content []byte) Page {
	page := Page{Anchors: map[string]bool{}}
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(content))
	// The walker returns no error, so Walk does not.
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := node.(type) {
		case *ast.Link:
			page.Links = append(page.Links, string(n.Destination))
		case *ast.Image:
			page.Links = append(page.Links, string(n.Destination))
		case *ast.Heading:
			page.Anchors[anchor(plain(n, content))] = true
		}
		return ast.WalkContinue, nil
	})
	return page
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

// anchor is GitHub's: lower case, blanks to dashes, no other punctuation.
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
