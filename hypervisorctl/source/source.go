// Package source finds out which hypervisor a VMI runs on: from Prometheus, from the relay of its node, or from its
// sidecar. All three answer with what the sidecar of the VMI's pod exports.
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

// Finding is what a sidecar says about its VMI. Type is never empty; the rest is empty if libvirt did not say it.
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

// Source finds out what VMIs run on. Find may be called from many goroutines.
type Source interface {
	// Name is the value of --source.
	Name() string
	// Find returns what the VMI runs on now. An UnaskedError says nothing about the VMI; any other error means that its
	// series is missing.
	Find(ctx context.Context, target Target) (Finding, error)
	// Close ends what Find has opened. No Find may be under way.
	Close()
}

// ErrNoSeries means that a sidecar or Prometheus answered and has no series of the VMI.
var ErrNoSeries = errors.New("no series of the VMI: it does not run there, or its sidecar is not scraped")

// UnaskedError is why a source could not be asked about a VMI.
type UnaskedError struct{ err error }

// Error implements error.
func (e *UnaskedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *UnaskedError) Unwrap() error { return e.err }
