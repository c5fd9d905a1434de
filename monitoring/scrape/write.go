package scrape

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Dialect is how relabelling is written.
type Dialect int

const (
	// Operator is the Prometheus operator's: sourceLabels.
	Operator Dialect = iota
	// Plain is Prometheus' own: source_labels.
	Plain
)

func (d Dialect) keys() (source, target string) {
	if d == Plain {
		return "source_labels", "target_label"
	}
	return "sourceLabels", "targetLabel"
}

// write gives the rules as YAML, each line indented by that many blanks.
func write(rules []Rule, dialect Dialect, indent int) string {
	source, target := dialect.keys()
	var out strings.Builder
	for _, rule := range rules {
		var lines []string
		if rule.Action != "" {
			lines = append(lines, "action: "+rule.Action)
		}
		if len(rule.Source) > 0 {
			lines = append(lines, source+": ["+strings.Join(rule.Source, ", ")+"]")
		}
		if rule.Regex != "" {
			lines = append(lines, "regex: "+scalar(rule.Regex, indent+4))
		}
		if rule.TargetLabel != "" {
			lines = append(lines, target+": "+rule.TargetLabel)
		}
		if rule.Replacement != "" {
			lines = append(lines, "replacement: "+scalar(rule.Replacement, indent+4))
		}
		margin := strings.Repeat(" ", indent)
		if rule.Why != "" {
			fmt.Fprintf(&out, "%s# %s\n", margin, rule.Why)
		}
		fmt.Fprintf(&out, "%s- %s\n", margin, strings.Join(lines, "\n"+margin+"  "))
	}
	return out.String()
}

// scalar quotes a text. A long expression is broken between its outer alternatives: in double
// quotes, a backslash at the end of a line takes the line break away.
func scalar(text string, indent int) string {
	const width = 110
	if len(text) < width {
		return `"` + text + `"`
	}
	next := "\\\n" + strings.Repeat(" ", indent)
	var out strings.Builder
	out.WriteString(`"`)
	room := 0
	for i, part := range alternatives(text) {
		if i > 0 {
			out.WriteString("|")
		}
		if room -= len(part) + 1; room < 0 {
			out.WriteString(next)
			room = width - indent - len(part) - 1
		}
		out.WriteString(part)
	}
	out.WriteString(`"`)
	return out.String()
}

// alternatives splits an expression where no parenthesis is open.
func alternatives(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				parts, start = append(parts, text[start:i]), i+1
			}
		}
	}
	return append(parts, text[start:])
}

var blocks = map[string][]Rule{"targets": slices.Concat(Targets(), Names(), Clusters()), "page": Page()}

var block = regexp.MustCompile(`(?m)^( *)# BEGIN generated (\w+)[^\n]*\n(?s:.*?)^ *# END generated\n`)

const note = ": go test ./monitoring/scrape -update"

// Rewrite puts the rules into the blocks of a file that are marked as generated.
func Rewrite(file []byte, dialect Dialect) ([]byte, error) {
	var err error
	count := 0
	written := block.ReplaceAllFunc(file, func(old []byte) []byte {
		match := block.FindSubmatch(old)
		margin, name := string(match[1]), string(match[2])
		rules := blocks[name]
		if rules == nil {
			err = fmt.Errorf("no such block: %s", name)
			return old
		}
		count++
		return fmt.Appendf(nil, "%s# BEGIN generated %s%s\n%s%s# END generated\n",
			margin, name, note, write(rules, dialect, len(margin)), margin)
	})
	if err == nil && (count != len(blocks) || bytes.Count(file, []byte("# BEGIN generated")) != count) {
		err = fmt.Errorf("%d of %d blocks are marked", count, len(blocks))
	}
	return written, err
}
