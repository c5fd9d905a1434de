package command

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"kubevirt-hypervisor-exporter/hypervisorctl/explain"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Reasons why there is no type although the sidecar runs.
const (
	// notFoundOut: the source was asked, and ReasonText is why there is no answer.
	notFoundOut = "not_found_out"
	// notAsked: no source could be used; a note on standard error has the reason.
	notAsked = "not_asked"
)

// List is what -o json and -o yaml print. Fields may be added; none changes its meaning.
type List struct {
	metav1.TypeMeta `json:",inline"`
	Items           []Row `json:"items"`
}

// Row is one VMI. What is not known is left out.
type Row struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Phase     string `json:"phase,omitempty"`
	Node      string `json:"node,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Finding is the sidecar's; the machine is the VMI's if the sidecar reports none.
	source.Finding `json:",inline"`
	// Source is prometheus, relay or exec.
	Source     string `json:"source,omitempty"`
	vm.Sidecar `json:",inline"`
	// Reason is why there is no type: one of a fixed set, in snake case. ReasonText is the reason in a sentence.
	Reason     string `json:"reason,omitempty"`
	ReasonText string `json:"reasonText,omitempty"`
	// Problems are the names of explain's problems, from worst to least.
	Problems []string    `json:"problems,omitempty"`
	Created  metav1.Time `json:"created,omitzero"`
}

// NewList makes a row of each VM, ordered by namespace and name.
func NewList(vms []survey.VM) *List {
	rows := make([]Row, len(vms)) // never nil: an empty list in JSON, not null
	for i := range vms {
		rows[i] = newRow(vms[i])
	}
	slices.SortFunc(rows, byName)
	return &List{TypeMeta: vm.TypeMeta("HypervisorList"), Items: rows}
}

// onlyProblems leaves the VMs with a problem, and returns how many of the others run without a report about them.
func (l *List) onlyProblems() (unknown int) {
	l.Items = slices.DeleteFunc(l.Items, func(r Row) bool {
		if len(r.Problems) == 0 && r.Type == "" && r.Phase == vm.Running {
			unknown++
		}
		return len(r.Problems) == 0
	})
	return unknown
}

func byName(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func newRow(of survey.VM) Row {
	vmi := of.VMI
	row := Row{
		Namespace: vmi.Namespace, Name: vmi.Name, Phase: vmi.Phase, Node: vmi.Node, Source: of.Source,
		Sidecar: vm.Sidecar{State: vm.Absent}, Created: vmi.Created, Problems: explain.Names(explain.Problems(explain.Input{VM: of})),
	}
	if of.Launcher != nil {
		row.Pod, row.Sidecar = of.Launcher.Name, of.Launcher.Sidecar
	}
	switch {
	case of.Finding != nil:
		row.Finding = *of.Finding
	case of.Cause.Why != vm.Expected:
		row.Reason, row.ReasonText = of.Cause.Short(), of.Cause.Sentence()
	case of.Err != nil:
		row.Reason, row.ReasonText = notFoundOut, of.Err.Error()
	default:
		row.Reason, row.ReasonText = notAsked, "no source of types could be used; a note on standard error has the reason"
	}
	row.Machine = cmp.Or(row.Machine, vmi.Machine)
	return row
}

// column of the table. A wide one is shown with -o wide only.
type column struct {
	name string
	wide bool
	cell func(Row) string
}

func columns(now time.Time, problems bool) []column {
	return []column{
		{"Name", false, func(r Row) string { return r.Name }},
		{"Type", false, func(r Row) string { return r.Type }},
		{"Domain", false, func(r Row) string { return r.DomainType }},
		{"Node", false, func(r Row) string { return r.Node }},
		{"Sidecar", false, func(r Row) string { return string(r.Sidecar.State) }},
		{"Reason", false, func(r Row) string { return r.Reason }},
		{"Problems", !problems, func(r Row) string { return strings.Join(r.Problems, ",") }},
		{"Age", false, func(r Row) string { return age(r.Created, now) }},
		{"Phase", true, func(r Row) string { return r.Phase }},
		{"State", true, state},
		{"Arch", true, func(r Row) string { return r.Arch }},
		{"Machine", true, func(r Row) string { return r.Machine }},
		{"CPU", true, func(r Row) string { return r.CPUModel }},
		{"Disks", true, func(r Row) string { return r.Disks }},
		{"NICs", true, func(r Row) string { return r.NICs }},
		{"QEMU", true, func(r Row) string { return r.HypervisorVersion }},
		{"Libvirt", true, func(r Row) string { return r.LibvirtVersion }},
		{"Version", true, func(r Row) string { return r.Sidecar.Version }},
		{"Source", true, func(r Row) string { return r.Source }},
		{"Pod", true, func(r Row) string { return r.Pod }},
	}
}

// state is libvirt's, with its reason where the VM does not just run.
func state(r Row) string {
	if r.DomainState == "" || r.DomainState == "running" {
		return r.DomainState
	}
	return r.DomainState + ": " + r.StateReason
}

func age(created metav1.Time, now time.Time) string {
	if created.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(created.Time))
}

// table returns rows for cli-runtime's printer.
func table(rows []Row, all []column) *metav1.Table {
	table := &metav1.Table{}
	for _, one := range all {
		definition := metav1.TableColumnDefinition{Name: terminal.Line(one.name), Type: "string"}
		if one.wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, row := range rows {
		cells := make([]any, len(all))
		for i, one := range all {
			cells[i] = cmp.Or(strings.TrimSpace(terminal.Line(one.cell(row))), "-")
		}
		// The printer reads the namespace from the object.
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: terminal.Line(row.Namespace)}}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: object}})
	}
	return table
}
