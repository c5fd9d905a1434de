// Package source finds out what hypervisor a VMI runs on: from Prometheus, from the relay of its node, or from its
// sidecar. Whichever it is, the answer is the sidecar's own page.
package source

import (
	"context"
	"errors"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Target is a VMI and the pod that it runs in.
type Target struct {
	VMI      vm.VMI
	Launcher vm.Launcher
}

// Finding is what a sidecar says of its VMI. Type is never empty; the rest is where libvirt was heard.
type Finding struct {
	// Type is kvm, qemu-tcg or unknown.
	Type string
	// DomainType is libvirt's, such as qemu.
	DomainType string
	// Arch is the guest's architecture as libvirt writes it, such as x86_64.
	Arch              string
	Machine           string
	HypervisorVersion string
	LibvirtVersion    string
}

// Source looks at VMIs. Look may be called from many goroutines.
type Source interface {
	// Name is what the user chooses it by.
	Name() string
	// Look returns what is said of the VMI now, or why nothing is known.
	Look(ctx context.Context, target Target) (Finding, error)
	// Close ends what Look has opened.
	Close()
}

// ErrNoSeries is where a sidecar or Prometheus answers and shows no such VMI.
var ErrNoSeries = errors.New("no series of the VMI: it does not run there, or its sidecar is not scraped")

// First asks one source after the other, and returns the first answer with the source's name. Where none has one, the
// error tells of each.
func First(ctx context.Context, sources []Source, target Target) (Finding, string, error) {
	var failures []error
	for _, one := range sources {
		finding, err := one.Look(ctx, target)
		if err == nil {
			return finding, one.Name(), nil
		}
		failures = append(failures, &failure{one.Name(), err})
		if ctx.Err() != nil {
			break
		}
	}
	return Finding{}, "", errors.Join(failures...)
}

type failure struct {
	source string
	err    error
}

func (f *failure) Error() string { return f.source + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }
