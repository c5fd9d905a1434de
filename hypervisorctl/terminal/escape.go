// Package terminal writes text of others (VM owners, pods, servers) so that it can neither control a terminal nor look
// like a line of ours. All output of hypervisorctl goes through it.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// longest is how many characters of one value are shown. The longest values of our own are hints of some hundred.
const longest = 2000

// Line returns the text on one line, of at most 2000 characters. What is not printable is escaped as in JSON: control
// characters, line and paragraph separators, and what changes the direction of text. A byte that is not UTF-8 becomes
// \ufffd.
func Line(text string) string {
	return cut(escape(cut(text), "")) // before, for the work that it saves; after, since escapes are longer
}

func cut(text string) string {
	if utf8.RuneCountInString(text) <= longest {
		return text
	}
	return string([]rune(text)[:longest-1]) + "…"
}

// escape escapes what is not printable, but leaves the characters of keep as they are.
func escape(text, keep string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == utf8.RuneError: // also a byte that is not UTF-8
			b.WriteString(`\ufffd`)
		case unicode.IsPrint(r), strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Clean replaces every string in a value that encoding/json has decoded by its Line, and returns the value. Keys stay: they
// are names of our own.
func Clean(decoded any) any {
	switch value := decoded.(type) {
	case string:
		return Line(value)
	case []any:
		for i, one := range value {
			value[i] = Clean(one)
		}
	case map[string]any:
		for key, one := range value {
			value[key] = Clean(one)
		}
	}
	return decoded
}
