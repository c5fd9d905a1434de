package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// failures picks out of the checks' output what failed and why: one check's reason is hard to find between the lines of
// those beside it, and behind it stands all that was found out about its pods.
type failures struct {
	line   []byte // not ended yet
	picked strings.Builder
	beside []string // the checks that run beside others
}

func (f *failures) Write(output []byte) (int, error) {
	f.line = append(f.line, output...)
	for {
		line, rest, ended := bytes.Cut(f.line, []byte("\n"))
		if !ended {
			return len(output), nil
		}
		f.line = rest
		if name, ok := strings.CutPrefix(string(line), "=== PAUSE "); ok {
			f.beside = append(f.beside, name)
		}
		if isFailure(string(line)) {
			f.picked.Write(line)
			f.picked.WriteByte('\n')
		}
	}
}

// isFailure knows go test's verdict, and testify's reasons, which alone begin like this.
func isFailure(line string) bool {
	return strings.HasPrefix(strings.TrimLeft(line, " "), "--- FAIL: ") || strings.HasPrefix(line, "        \t")
}

// verdict is that of a whole check, not of a part.
var verdict = regexp.MustCompile(`--- FAIL: (\w+) `)

// checks are the names of the checks that failed, and whether there are any and all of them ran beside others.
func (f *failures) checks() (names []string, beside bool) {
	beside = true
	for _, found := range verdict.FindAllStringSubmatch(f.picked.String(), -1) {
		names = append(names, found[1])
		beside = beside && slices.Contains(f.beside, found[1])
	}
	return names, beside && len(names) > 0
}
