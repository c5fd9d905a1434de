package check

import (
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// Printer writes lines as text, one by one.
type Printer struct {
	out     *terminal.Writer
	most    int
	section string
	err     error
}

// NewPrinter writes to out. It shows at most the given number of a line's objects, or all with 0.
func NewPrinter(out *terminal.Writer, most int) *Printer { return &Printer{out: out, most: most} }

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
	p.objects(line.Objects)
	if line.Hint != "" {
		p.printf("        hint: %s\n", line.Hint)
	}
}

// End writes the result, and returns the first error of writing.
func (p *Printer) End(report *Report) error {
	counts := map[Level]int{}
	for _, line := range report.Lines {
		counts[line.Level]++
	}
	p.printf("\n%s: %d ok, %d warn, %d fail\n", report.Result, counts[OK], counts[Warn], counts[Fail])
	return p.err
}

func (p *Printer) objects(all []string) {
	shown := all
	if p.most > 0 && len(all) > p.most {
		shown = all[:p.most]
	}
	for i, object := range shown { // one by one: what is printed at once is cut at some length
		before := ", "
		if i == 0 {
			before = "        "
		}
		p.printf("%s%s", before, object)
	}
	if more := len(all) - len(shown); more > 0 {
		p.printf(" and %d more (--all shows them)", more)
	}
	if len(all) > 0 {
		p.printf("\n")
	}
}

func (p *Printer) printf(format string, args ...any) {
	if p.err == nil {
		p.err = p.out.Printf(format, args...)
	}
}
