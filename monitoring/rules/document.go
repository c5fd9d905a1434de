package rules

import (
	"fmt"
	"regexp"
	"strings"
)

var block = regexp.MustCompile(`(?s)(<!-- BEGIN generated (\w+): [^\n]* -->\n).*?(<!-- END generated -->\n)`)

// Document returns docs/alerts.md with its generated blocks rewritten.
func Document(page []byte) []byte {
	blocks := map[string]string{"alerts": alertTable(Components()...), "withoutExporter": alertTable(WithoutExporter()),
		"recordings": recordingTable(), "expressions": expressionSections()}
	return block.ReplaceAllFunc(page, func(old []byte) []byte {
		match := block.FindSubmatch(old)
		return fmt.Append(nil, string(match[1]), blocks[string(match[2])], string(match[3]))
	})
}

func alertTable(components ...Component) string {
	var out strings.Builder
	out.WriteString("| alert | severity | meaning |\n|---|---|---|\n")
	for _, group := range groupsOf(components) {
		for _, alert := range group.Alerts {
			fmt.Fprintf(&out, "| [%[1]s](runbooks/%[1]s.md) | %[2]s | %[3]s |\n", alert.Name, alert.Severity, alert.Summary)
		}
	}
	return out.String()
}

func recordingTable() string {
	var out strings.Builder
	out.WriteString("| series | meaning |\n|---|---|\n")
	for _, recording := range Recordings() {
		fmt.Fprintf(&out, "| `%s` | %s |\n", recording.Name, recording.Meaning)
	}
	return out.String()
}

func expressionSections() string {
	var sections []string
	for _, alert := range Alerts() {
		section := fmt.Sprintf("### %s\n\n", alert.Name)
		if alert.Why != "" {
			section += alert.Why + "\n\n"
		}
		section += fmt.Sprintf("```promql\n%s\n```\n", alert.Expr)
		if alert.For > 0 {
			section += fmt.Sprintf("\nfor `%s`\n", promDuration(alert.For))
		}
		sections = append(sections, section)
	}
	return strings.Join(sections, "\n")
}
