package command

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/liggitt/tabwriter"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/printers"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// The VMs are listed again once something has changed, but not sooner than watchPause after the last list, and so that
// lists take no more than a tenth of the time.
const (
	watchPause = 2 * time.Second
	watchShare = 9
)

// deleted is the reason of a VMI that is gone.
const deleted = "deleted"

// watch prints all rows of the list, then those of VMs that change, until ctx ends.
func (o *listOptions) watch(ctx context.Context, s *session, list *List, columns []column, namespace string, selection []metav1.ListOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		failed <- s.cluster.Changes(ctx, namespace, func() {
			select {
			case changes <- struct{}{}:
			default: // one is waiting
			}
		})
	}()
	printer, out := o.printer(), printers.GetNewTabWriter(o.out.Filter())
	known, last, wait := map[types.NamespacedName]Row{}, "", watchPause
	for {
		if list != nil {
			if err := o.printRows(printer, out, changed(known, list), columns); err != nil {
				return err
			}
			known = rowsOf(list)
		}
		select {
		case err := <-failed:
			return err
		case <-time.After(wait):
		}
		select {
		case err := <-failed:
			return err
		case <-changes:
		}
		began := time.Now()
		vms, _, err := s.survey(ctx, namespace, selection...)
		wait = max(watchPause, watchShare*time.Since(began))
		switch {
		case ctx.Err() != nil:
			return <-failed
		case err != nil: // the API server starts again, say
			if list = nil; err.Error() != last {
				o.note("not listed: " + err.Error())
			}
			last = err.Error()
		default:
			list, last = NewList(vms), ""
		}
	}
}

// rowsOf returns the rows by name. The reason's sentence is left out: it may differ each time.
func rowsOf(list *List) map[types.NamespacedName]Row {
	rows := map[types.NamespacedName]Row{}
	for _, row := range list.Items {
		row.ReasonText = ""
		rows[types.NamespacedName{Namespace: row.Namespace, Name: row.Name}] = row
	}
	return rows
}

// changed returns the rows that are not as they were, and one for each VMI that is gone.
func changed(before map[types.NamespacedName]Row, list *List) []Row {
	var rows []Row
	now := rowsOf(list)
	for _, row := range list.Items {
		name := types.NamespacedName{Namespace: row.Namespace, Name: row.Name}
		if was, found := before[name]; !found || !reflect.DeepEqual(was, now[name]) {
			rows = append(rows, row)
		}
	}
	for name, row := range before {
		if _, found := now[name]; !found {
			rows = append(rows, Row{Namespace: row.Namespace, Name: row.Name, Created: row.Created, Reason: deleted, ReasonText: "the VMI was deleted"})
		}
	}
	slices.SortFunc(rows, byName)
	return rows
}

// printRows prints rows below those of before.
func (o *listOptions) printRows(printer printers.ResourcePrinter, out *tabwriter.Writer, rows []Row, columns []column) error {
	if columns != nil {
		if len(rows) == 0 {
			return nil
		}
		return cmp.Or(printer.PrintObj(table(rows, columns), out), out.Flush())
	}
	for _, row := range rows {
		var object any = struct {
			metav1.TypeMeta `json:",inline"`
			Row             `json:",inline"`
		}{vm.TypeMeta("Hypervisor"), row}
		if *o.output.OutputFormat == outputName {
			object = reference(row.Name)
		}
		if err := o.output.print(o.out, object); err != nil {
			return err
		}
	}
	return nil
}
