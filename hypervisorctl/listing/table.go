package listing

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

// column of the table. A wide one is shown with -o wide only.
type column struct {
	name string
	wide bool
	cell func(Row) string
}

func columns(now time.Time) []column {
	return []column{
		{"Name", false, func(r Row) string { return r.Name }},
		{"Type", false, func(r Row) string { return r.Type }},
		{"Domain", false, func(r Row) string { return r.DomainType }},
		{"Node", false, func(r Row) string { return r.Node }},
		{"Sidecar", false, func(r Row) string { return r.Sidecar }},
		{"Reason", false, func(r Row) string { return r.Reason }},
		{"Age", false, func(r Row) string { return age(r.Created, now) }},
		{"Phase", true, func(r Row) string { return r.Phase }},
		{"Arch", true, func(r Row) string { return r.Architecture }},
		{"Machine", true, func(r Row) string { return r.Machine }},
		{"QEMU", true, func(r Row) string { return r.HypervisorVersion }},
		{"Libvirt", true, func(r Row) string { return r.LibvirtVersion }},
		{"Version", true, func(r Row) string { return r.SidecarVersion }},
		{"Source", true, func(r Row) string { return r.Source }},
		{"Pod", true, func(r Row) string { return r.Pod }},
	}
}

func age(created *metav1.Time, now time.Time) string {
	if created == nil {
		return ""
	}
	return duration.HumanDuration(now.Sub(created.Time))
}

// Table makes a table of the list for cli-runtime's printer.
func Table(list *List, now time.Time) *metav1.Table {
	all := columns(now)
	table := &metav1.Table{}
	for _, one := range all {
		definition := metav1.TableColumnDefinition{Name: one.name, Type: "string"}
		if one.wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, row := range list.Items {
		cells := make([]any, len(all))
		for i, one := range all {
			cells[i] = orDash(one.cell(row))
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells, Object: objectOf(row)})
	}
	return table
}

// objectOf is what the printer reads the namespace from.
func objectOf(row Row) runtime.RawExtension {
	return runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
		ObjectMeta: metav1.ObjectMeta{Namespace: row.Namespace, Name: row.Name},
	}}
}

func orDash(cell string) string {
	if strings.TrimSpace(cell) == "" {
		return "-"
	}
	return cell
}
