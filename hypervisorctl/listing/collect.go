package listing

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Reader is what is read of the cluster.
type Reader interface {
	EachVMI(ctx context.Context, namespace, selector string, use func(vm.VMI)) error
	EachLauncher(ctx context.Context, namespace string, cfg inject.Config, use func(vm.Launcher)) error
}

// Request says which VMIs, and how their type is found out.
type Request struct {
	// Namespace is empty for all.
	Namespace string
	Selector  string
	// Config is the webhook's, by which it is said why a pod has no sidecar.
	Config inject.Config
	// Enabled says whether a namespace asks for sidecars.
	Enabled func(ctx context.Context, namespace string) vm.Enabled
	// Sources are asked in this order; none means that no type is found out.
	Sources []source.Source
}

// Progress is told how far a list has come. It must not be nil.
type Progress interface {
	// Listed tells how many VMIs are known.
	Listed(vmis int)
	// Asked tells how many of the sidecars have been asked.
	Asked(done, of int)
	// Done takes what was shown away.
	Done()
}

// atOnce is how many sidecars are asked at a time.
const atOnce = 8

// Collect lists VMIs and finds out what they run on. Of the objects only rows are kept, half a kilobyte each. An error
// is one of listing; that a type is not known is no error but a row's reason.
func Collect(ctx context.Context, reader Reader, request Request, progress Progress) (*List, error) {
	defer progress.Done()
	var found []vm.VMI
	seen := map[string]bool{}
	err := reader.EachVMI(ctx, request.Namespace, request.Selector, func(vmi vm.VMI) {
		if seen[vmi.UID] { // the list was begun anew
			return
		}
		seen[vmi.UID] = true
		found = append(found, vmi)
		progress.Listed(len(found))
	})
	if err != nil {
		return nil, err
	}
	launchers := map[string][]vm.Launcher{}
	err = reader.EachLauncher(ctx, request.Namespace, request.Config, func(launcher vm.Launcher) {
		if seen[launcher.Owner] {
			launchers[launcher.Owner] = append(launchers[launcher.Owner], launcher)
		}
	})
	if err != nil {
		return nil, err
	}
	return ask(ctx, request, found, launchers, progress)
}

func ask(ctx context.Context, request Request, found []vm.VMI, launchers map[string][]vm.Launcher, progress Progress) (*List, error) {
	rows := make([]Row, len(found))
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, vmi := range found {
		group.Go(func() error {
			rows[i] = Look(ctx, request, vmi, launchers[vmi.UID])
			progress.Asked(int(done.Add(1)), len(found))
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return NewList(rows), nil
}

// Look makes the row of one VMI.
func Look(ctx context.Context, request Request, vmi vm.VMI, launchers []vm.Launcher) Row {
	var launcher *vm.Launcher
	if chosen, ok := vm.Choose(vmi, launchers); ok {
		launcher = &chosen
	}
	row := newRow(vmi, launcher)
	cause := vm.Diagnose(vmi, launcher, vm.EnabledUnknown)
	if cause.Why == vm.Unread || cause.Why == vm.Refused { // only then does the label matter
		cause = vm.Diagnose(vmi, launcher, request.Enabled(ctx, vmi.Namespace))
	}
	if cause.Why != vm.Expected {
		row.missing(cause)
		return row
	}
	finding, by, err := source.First(ctx, request.Sources, source.Target{VMI: vmi, Launcher: *launcher})
	switch {
	case err == nil && by != "":
		row.found(finding, by)
	case err != nil:
		row.Reason, row.ReasonText = notFoundOut, err.Error()
	default:
		row.Reason, row.ReasonText = "not_asked", "no source of types could be used; a note on standard error says why"
	}
	return row
}
