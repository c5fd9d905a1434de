package explain

import (
	"cmp"
	"fmt"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// Print writes an explanation as text.
func Print(out *terminal.Writer, e *Explanation) error {
	errs := []error{out.Printf("%s/%s: %s\n\n%s\n", e.Namespace, e.Name, headline(e), e.Sentence)}
	if e.Advice != "" {
		errs = append(errs, out.Printf("%s\n", e.Advice))
	}
	errs = append(errs, out.Printf("\n"))
	widest := 0
	for _, fact := range e.Facts {
		widest = max(widest, len(fact.Name))
	}
	for _, fact := range e.Facts {
		errs = append(errs, out.Printf("%-*s  %s\n", widest, fact.Name, fact.Value))
	}
	return cmp.Or(errs...)
}

// headline never shows an expected type as one that was measured.
func headline(e *Explanation) string {
	switch {
	case e.Type != "" && e.Expected != "" && e.Type != e.Expected:
		return fmt.Sprintf("%s (reported by its sidecar), but %s was expected", e.Type, e.Expected)
	case e.Type != "":
		return fmt.Sprintf("%s (reported by its sidecar)", e.Type)
	case e.Expected != "":
		return fmt.Sprintf("%s expected, but not measured", e.Expected)
	default:
		return "not known"
	}
}
