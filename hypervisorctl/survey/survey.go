// Package survey finds, for each VMI, its pod, what its sidecar reports, and why there is no metric if there is none.
package survey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Reader reads the cluster.
type Reader interface {
	EachVMI(ctx context.Context, namespace string, options metav1.ListOptions, use func(vm.VMI)) error
	EachLauncher(ctx context.Context, namespace string, cfg inject.Config, use func(vm.Launcher)) error
	EachFailedCreate(ctx context.Context, namespace, kind string, use func(*corev1.Event)) error
}

// Request selects VMIs, and sets how to find out what they run on.
type Request struct {
	// Namespace is empty for all.
	Namespace string
	// Select selects VMIs: those that one of the options does; none selects all.
	Select []metav1.ListOptions
	// Config is the webhook's: why does a pod have no sidecar?
	Config inject.Config
	// Enabled reports whether a namespace is labelled for sidecars. It is called from many goroutines.
	Enabled func(ctx context.Context, namespace string) vm.Enabled
	// Source is asked about each VMI whose sidecar runs; nil means that nothing is asked.
	Source source.Source
	Now    time.Time
	// Note is called if events could not be read, so that what refused a VMI's pods is not known.
	Note func(error)
	// Progress is called with how far List is, from many goroutines; nil shows nothing.
	Progress func(text string)
}

// VM is what was found about one VMI.
type VM struct {
	VMI vm.VMI
	// Launcher is its pod; nil if it has none.
	Launcher *vm.Launcher
	// Cause is why there is no metric, as far as Kubernetes knows.
	Cause vm.Cause
	// Finding is what its sidecar reports; nil if it was not asked, or if it did not answer: Err is the reason.
	Finding *source.Finding
	// Source is the name of the source that answered.
	Source string
	Err    error
}

// Unasked reports whether the error only means that the source could not be asked about the VM.
func (v VM) Unasked() bool {
	var unasked *source.UnaskedError
	return errors.As(v.Err, &unasked)
}

// atOnce is how many sidecars are asked at a time.
const atOnce = 8

// List lists VMIs and asks the source about each. It keeps half a kilobyte of each object. An error means that the list
// failed; a VM about which the source did not answer has its own error.
func List(ctx context.Context, reader Reader, request Request) ([]VM, error) {
	if request.Progress == nil {
		request.Progress = func(string) {}
	}
	found, launchers, err := read(ctx, reader, request)
	if err != nil {
		return nil, err
	}
	vms, err := ask(ctx, request, found, launchers)
	if err != nil {
		return nil, err
	}
	return vms, refusals(ctx, reader, request, vms)
}

// read lists the VMIs and, at the same time, the pods that run them, by the UID of the VMI. Of two errors it returns that of
// the VMIs, so that a user without rights reads the same each time.
func read(ctx context.Context, reader Reader, request Request) ([]vm.VMI, map[string][]vm.Launcher, error) {
	launchers := map[string][]vm.Launcher{}
	pods := make(chan error, 1)
	go func() {
		pods <- reader.EachLauncher(ctx, request.Namespace, request.Config, func(launcher vm.Launcher) {
			if launcher.Owner != "" {
				launchers[launcher.Owner] = append(launchers[launcher.Owner], launcher)
			}
		})
	}()
	found, err := vmis(ctx, reader, request)
	err = cmp.Or(err, <-pods)
	return found, launchers, err
}

func vmis(ctx context.Context, reader Reader, request Request) ([]vm.VMI, error) {
	selections := request.Select
	if len(selections) == 0 {
		selections = []metav1.ListOptions{{}}
	}
	var found []vm.VMI
	seen := map[string]bool{}
	for _, options := range selections {
		err := reader.EachVMI(ctx, request.Namespace, options, func(vmi vm.VMI) {
			if seen[vmi.UID] { // the list was started again
				return
			}
			seen[vmi.UID] = true
			found = append(found, vmi)
			request.Progress(fmt.Sprintf("listed %d VMIs …", len(found)))
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// refusals explains VMs without a sidecar by KubeVirt's events about pods that were refused. It reads events only if they
// could explain a VM. It fails only if ctx ended.
func refusals(ctx context.Context, reader Reader, request Request, vms []VM) error {
	open := map[string]*VM{}
	for i := range vms {
		if one := &vms[i]; one.Cause.Explicable(one.VMI, one.Launcher) && request.Enabled(ctx, one.VMI.Namespace) != vm.EnabledNo {
			open[one.VMI.UID] = one
		}
	}
	if len(open) == 0 {
		return ctx.Err()
	}
	last := map[string]vm.Refusal{}
	err := reader.EachFailedCreate(ctx, request.Namespace, contract.VMIKind, func(event *corev1.Event) {
		uid, about := string(event.InvolvedObject.UID), open[string(event.InvolvedObject.UID)]
		if about == nil || about.VMI.Namespace != event.Namespace {
			return
		}
		if refusal, ok := vm.RefusalOf(event); ok && refusal.At.After(last[uid].At) {
			last[uid] = refusal
		}
	})
	if err != nil && ctx.Err() == nil {
		request.Note(err)
	}
	for uid, refusal := range last {
		one := open[uid]
		one.Cause = one.Cause.Explained(one.VMI, one.Launcher, refusal, request.Now)
	}
	return ctx.Err()
}

func ask(ctx context.Context, request Request, found []vm.VMI, launchers map[string][]vm.Launcher) ([]VM, error) {
	vms := make([]VM, len(found))
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, vmi := range found {
		group.Go(func() error {
			vms[i] = one(ctx, request, vmi, launchers[vmi.UID])
			request.Progress(fmt.Sprintf("read %d of %d VMIs …", done.Add(1), len(found)))
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return vms, nil
}

// one returns what is found about one VMI.
func one(ctx context.Context, request Request, vmi vm.VMI, launchers []vm.Launcher) VM {
	found := VM{VMI: vmi, Launcher: vm.Choose(vmi, launchers)}
	found.Cause = vm.Diagnose(vmi, found.Launcher, vm.EnabledUnknown)
	if found.Cause.Why == vm.Unread || found.Cause.Why == vm.Refused { // only then does the label matter
		found.Cause = vm.Diagnose(vmi, found.Launcher, request.Enabled(ctx, vmi.Namespace))
	}
	if found.Cause.Why != vm.Expected || request.Source == nil {
		return found
	}
	finding, err := request.Source.Find(ctx, source.Target{VMI: vmi, Launcher: *found.Launcher})
	if err != nil {
		found.Err = fmt.Errorf("%s: %w", request.Source.Name(), err)
		return found
	}
	found.Finding, found.Source = &finding, request.Source.Name()
	return found
}

// mostReasons is how many reasons MostFrequent returns.
const mostReasons = 5

// MostFrequent returns the reasons that most VMs have, and puts the VMs with the others under one reason.
func MostFrequent(byReason map[string][]string) []string {
	const others = "for other reasons: kubectl hypervisor list -o yaml shows each"
	reasons := slices.SortedFunc(maps.Keys(byReason), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(byReason[b]), len(byReason[a])), cmp.Compare(a, b))
	})
	if len(reasons) <= mostReasons {
		return reasons
	}
	for _, reason := range reasons[mostReasons-1:] {
		byReason[others] = append(byReason[others], byReason[reason]...)
	}
	return append(reasons[:mostReasons-1], others)
}

// Count returns the number with one of the words for it.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
