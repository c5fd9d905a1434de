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
	// Fail: VMs have no metric because of it, or will have none; or no alert about them can fire.
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
	// Link is a page that explains it, where there is a hint.
	Link string `json:"link,omitempty"`
	// Objects are those that it is about, if there may be many, sorted.
	Objects []string `json:"objects,omitempty"`
	// rows: each object has a row of its own, and all are shown.
	rows bool
	// denied is set if a right is missing. Such lines become one.
	denied *denial
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

// unread returns the line about what could not be read.
func unread(what string, err error) Line {
	if cluster.IsDenied(err) {
		line, missing := warn(rightsHint, "%s: not checked: %s", what, err), denialOf(err)
		missing.what = what
		line.denied = &missing
		return line
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
	if line.rows {
		p.rows(line.Objects)
	} else {
		p.objects(line.Objects)
	}
	if line.Hint != "" {
		p.printf("        hint: %s\n        see:  %s\n", line.Hint, line.Link)
	}
}

// mostShort is how many objects a short line names.
const mostShort = 3

// Short writes a line that is not ok in one line, without its hint.
func (p *Printer) Short(line Line) {
	if line.Level == OK {
		return
	}
	p.printf("%-4s  %s: %s", line.Level, line.Section, line.Text)
	before := " ("
	for i, object := range line.Objects {
		if i == mostShort {
			p.printf(" and %d more", len(line.Objects)-mostShort)
			break
		}
		p.printf("%s%s", before, object)
		before = ", "
	}
	if len(line.Objects) > 0 {
		p.printf(")")
	}
	p.printf("\n")
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

// Err returns the first error of writing.
func (p *Printer) Err() error { return p.err }

func (p *Printer) rows(all []string) {
	for _, row := range all {
		p.printf("        %s\n", row)
	}
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
