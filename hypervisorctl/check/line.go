// Package check is the command check: it follows a metric from KubeVirt to Prometheus and checks each step. What could not
// be checked is never ok.
package check

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
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

// Line is one step.
type Line struct {
	Section string `json:"section"`
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	// Hint says what to do; empty if there is nothing to do.
	Hint string `json:"hint,omitempty"`
	// Objects are those that it is about, if there may be many, sorted.
	Objects []string `json:"objects,omitempty"`
}

// The kind of the report that json and yaml print. It is not a resource of the cluster.
const (
	APIVersion = "hypervisorctl.hypervisor-exporter.kubevirt.io/v1"
	Kind       = "CheckReport"
)

// Report has all steps, in the order in which a metric passes them.
type Report struct {
	metav1.TypeMeta `json:",inline"`
	// Result is the worst level of the lines.
	Result Level  `json:"result"`
	Lines  []Line `json:"lines"`
}

// NewReport puts lines together.
func NewReport(lines []Line) *Report {
	report := &Report{TypeMeta: metav1.TypeMeta{APIVersion: APIVersion, Kind: Kind}, Lines: lines}
	for _, line := range lines {
		report.Result = max(report.Result, line.Level)
	}
	return report
}

// DeepCopyObject implements runtime.Object, for the printers of cli-runtime.
func (r *Report) DeepCopyObject() runtime.Object {
	copied := *r
	copied.Lines = append([]Line(nil), r.Lines...)
	return &copied
}

// ExitCode is 0 if all is ok, 1 if something should be fixed or was not checked, 2 if something failed.
func (r *Report) ExitCode() int { return int(r.Result) }

// section makes lines of one name.
type section string

func (s section) ok(format string, args ...any) Line {
	return Line{Section: string(s), Level: OK, Text: fmt.Sprintf(format, args...)}
}

func (s section) warn(hint, format string, args ...any) Line {
	return Line{Section: string(s), Level: Warn, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func (s section) fail(hint, format string, args ...any) Line {
	return Line{Section: string(s), Level: Fail, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// rightsHint says which file has the rights that a check needs.
const rightsHint = "the rights for all checks are in hypervisorctl/rbac.yaml"

// unread is the line of what could not be read. It is not for what does not exist: the caller knows what that means.
func (s section) unread(what string, err error) Line {
	var denied *cluster.AccessError
	if errors.As(err, &denied) {
		return s.warn(rightsHint, "%s: not checked: %s", what, denied)
	}
	return s.fail("try again; if it stays, check the API server", "%s: could not be read: %s", what, err)
}

// absent says whether an object, or the API that it belongs to, does not exist.
func absent(err error) bool { return apierrors.IsNotFound(err) }
