// Package acceptance proves the sidecar's binary from outside: it runs beside a real
// libvirtd with real QEMU guests, as uid 107, and is asked over its own listener only.
//
// The package holds tests alone. Two binaries are under test: the plain one, whose
// memory is what a pod would pay, and one built with the race detector.
package acceptance
