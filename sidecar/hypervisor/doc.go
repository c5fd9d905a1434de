// Package hypervisor decides what is true of a VMI's hypervisor. It is pure: what
// libvirt said goes in (an Observation, and when it last answered), one immutable
// Snapshot comes out. It opens nothing, waits for nothing and reads no clock.
package hypervisor
