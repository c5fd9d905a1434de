// Package source finds out which hypervisor a VMI runs on: from Prometheus, from the relay of its node, or by a command in
// its sidecar. All three return what the sidecar of the VMI's pod exports.
package source

import (
	"context"
	"errors"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Target is a VMI and the pod that it runs in.
type Target struct {
	VMI      vm.VMI
	Launcher vm.Launcher
}

// Source finds out what VMIs run on. Find may be called from many goroutines.
type Source interface {
	// Name is the value of --source.
	Name() string
	// Find returns what the VMI runs on now. An UnaskedError means nothing about the VMI; any other error means that its
	// series is missing.
	Find(ctx context.Context, target Target) (Finding, error)
	// Close closes what Find has opened. No Find may be running.
	Close()
}

// ErrNoSeries means that a sidecar or Prometheus answered and has no series of the VMI.
var ErrNoSeries = errors.New("no series of the VMI: it does not run there, or its sidecar is not scraped")

// errNoSocket: with the exposure "direct" the sidecar has no socket, and it accepts nothing over loopback, where with
// masquerade the guest answers.
var errNoSocket = errors.New("the sidecar has no socket, and can be scraped from outside its pod only")

// pageTimeout is what reading one page may take. A sidecar answers in milliseconds, and the relay's own deadline for a pod
// is shorter.
const pageTimeout = 15 * time.Second

// findOnPage reads the page of the target's sidecar and finds the VMI on it.
func findOnPage(ctx context.Context, target Target, read func(context.Context, vm.Launcher) ([]byte, error)) (Finding, error) {
	if !target.Launcher.Sidecar.Socket {
		return Finding{}, errNoSocket
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	page, err := read(ctx, target.Launcher)
	if err != nil {
		return Finding{}, err
	}
	return Parse(page, target.VMI.Key())
}

// UnaskedError is why a source could not be asked about a VMI.
type UnaskedError struct{ error }

// Unwrap returns the cause.
func (e *UnaskedError) Unwrap() error { return e.error }
