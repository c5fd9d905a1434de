package check

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Level is the result of a step.
type Level int

// The levels, from good to bad.
const (
	// OK: checked, and as it should be.
	OK Level = iota
	// Warn: works, but should be fixed; or could not be checked.
	Warn
	// Fail: VMs have no metric because of it, or will have none.
	Fail
)

// String is the word at a line's beginning.
func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Warn:
		return "warn"
	case Fail:
		return "fail"
	default:
		return fmt.Sprintf("level_%d", int(l))
	}
}

// MarshalText is the word, for JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// coloured is the word, padded to a width, in a colour.
func (l Level) coloured(width int) terminal.Coloured {
	colour := map[Level]terminal.Colour{OK: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red}[l]
	return terminal.Coloured{Text: fmt.Sprintf("%-*s", width, l), Colour: colour}
}

// Line is one result.
type Line struct {
	Section string `json:"section"`
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	// Hint says what to do; empty if there is nothing to do.
	Hint string `json:"hint,omitempty"`
	// Objects are those that it is about, if there may be many, sorted.
	Objects []string `json:"objects,omitempty"`
}

func ok(format string, args ...any) Line { return Line{Text: fmt.Sprintf(format, args...)} }

func warn(hint, format string, args ...any) Line {
	return Line{Level: Warn, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func fail(hint, format string, args ...any) Line {
	return Line{Level: Fail, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// about returns the line with the objects that it is about, sorted.
func (l Line) about(objects []string) Line {
	slices.Sort(objects)
	l.Objects = objects
	return l
}

// rightsHint is for what the user may not read.
const rightsHint = "the rights for all checks are in hypervisorctl/rbac.yaml; an administrator can grant them"

// unread returns the line about what could not be read.
func unread(what string, err error) Line {
	if cluster.IsDenied(err) {
		return warn(rightsHint, "%s: not checked: %s", what, err)
	}
	return fail("try again; if it fails again, check the API server", "%s: could not be read: %s", what, err)
}

// Report has all lines, in the order in which a metric passes the steps.
type Report struct {
	metav1.TypeMeta `json:",inline"`
	// Result is the worst level of the lines.
	Result Level  `json:"result"`
	Lines  []Line `json:"lines"`
}

// NewReport returns a report of the lines.
func NewReport(lines []Line) *Report {
	report := &Report{TypeMeta: vm.TypeMeta("CheckReport"), Lines: lines}
	for _, line := range lines {
		report.Result = max(report.Result, line.Level)
	}
	return report
}

// ExitCode is 0 if all is ok, 1 if something should be fixed or was not checked, 2 if something failed.
func (r *Report) ExitCode() int { return int(r.Result) }

// Printer writes lines as text, one by one.
type Printer struct {
	out     *terminal.Writer
	most    int
	section string
	err     error
}

// NewPrinter writes to out. It shows at most the given number of a line's objects, or all with 0.
func NewPrinter(out *terminal.Writer, most int) *Printer { return &Printer{out: out, most: most} }

// Line writes one line and, if it has one, its hint below.
func (p *Printer) Line(line Line) {
	if line.Section != p.section {
		if p.section != "" {
			p.printf("\n")
		}
		p.printf("%s\n", line.Section)
		p.section = line.Section
	}
	p.printf("  %s  %s\n", line.Level.coloured(4), line.Text)
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
	p.printf("\n%s: %d ok, %d warn, %d fail\n", report.Result.coloured(0), counts[OK], counts[Warn], counts[Fail])
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
