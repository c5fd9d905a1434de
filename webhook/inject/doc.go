// Package inject decides whether a virt-launcher pod gets the exporter sidecar
// and says, as a JSON patch, what is added to it.
//
// The way data takes: the parts of a pod that matter (Pod) are read, never
// written back (Decide); what is added is one container, one volume and up to
// three annotations (container.go, patch.go). There is no I/O, no clock and no
// HTTP here but for Run, which is the command-line `webhook inject` on a reader
// and a writer. The admission handler and the command line go through the same
// Decide.
package inject
