// Package libvirttest starts real session libvirtds with real QEMU guests in
// temporary folders, as net/http/httptest does with HTTP servers.
//
// A Daemon is what a virt-launcher pod has: a session libvirtd of uid 107 whose
// socket is named virtqemud-sock. A Guest becomes one domain of it, named and
// shaped as KubeVirt does it, and Domain is the handle to act on it. A Recorder
// tells which lifecycle events came and which state each of them found.
//
// The core imports no testing package, so that commands may use it too; see
// testing.go for what spares tests the error handling.
package libvirttest
