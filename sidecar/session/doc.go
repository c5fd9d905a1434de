// Package session keeps the sidecar's one connection to libvirt: it dials the
// pod-local socket, opens it read-only, reads the domains' states whenever libvirt
// reports a change, asks for their XML beside that, and dials again when libvirt no
// longer answers.
//
// The RPC itself is digitalocean/go-libvirt's. That library trusts its peer and
// waits for ever, so a guard stands between it and the socket: nothing but a
// short list of read-only calls goes out, nothing but well-formed answers to
// them comes in, and closing the guard ends every wait.
package session
