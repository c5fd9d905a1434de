package check

import (
	"fmt"
	"io"
	"strings"
)

// Printer writes lines for people, as they come.
type Printer struct {
	out     io.Writer
	most    int
	section string
	err     error
}

// NewPrinter writes to out; of a line's objects at most the given number, or all of them with 0.
func NewPrinter(out io.Writer, most int) *Printer { return &Printer{out: out, most: most} }

// Line writes one line and, where there is one, its hint below.
func (p *Printer) Line(line Line) {
	if line.Section != p.section {
		if p.section != "" {
			p.printf("\n")
		}
		p.printf("%s\n", line.Section)
		p.section = line.Section
	}
	p.printf("  %-4s  %s\n", line.Level, line.Text)
	if len(line.Objects) > 0 {
		p.printf("        %s\n", p.objects(line.Objects))
	}
	if line.Hint != "" {
		p.printf("        hint: %s\n", line.Hint)
	}
}

// End writes how it came out, and returns the first error of writing.
func (p *Printer) End(report *Report) error {
	counts := map[Level]int{}
	for _, line := range report.Lines {
		counts[line.Level]++
	}
	p.printf("\n%s: %d ok, %d warn, %d fail\n", report.Result, counts[OK], counts[Warn], counts[Fail])
	return p.err
}

func (p *Printer) objects(all []string) string {
	if p.most == 0 || len(all) <= p.most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more (--all shows them)", strings.Join(all[:p.most], ", "), len(all)-p.most)
}

func (p *Printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}
