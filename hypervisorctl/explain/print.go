package explain

import (
	"fmt"
	"io"
	"strings"
)

// Print writes an explanation for people.
func Print(out io.Writer, e *Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s: %s\n\n%s\n", e.Namespace, e.Name, headline(e), e.Sentence)
	if e.Advice != "" {
		fmt.Fprintf(&b, "%s\n", e.Advice)
	}
	b.WriteString("\n")
	widest := 0
	for _, fact := range e.Facts {
		widest = max(widest, len(fact.Name))
	}
	for _, fact := range e.Facts {
		fmt.Fprintf(&b, "%-*s  %s\n", widest, fact.Name, fact.Value)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// headline never passes what is expected for what was seen.
func headline(e *Explanation) string {
	switch {
	case e.Type != "" && e.Expected != "" && e.Type != e.Expected:
		return fmt.Sprintf("%s (seen by its sidecar), where %s was expected", e.Type, e.Expected)
	case e.Type != "":
		return fmt.Sprintf("%s (seen by its sidecar)", e.Type)
	case e.Expected != "":
		return fmt.Sprintf("%s expected; what it really is was not seen", e.Expected)
	default:
		return "not known"
	}
}
