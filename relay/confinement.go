package main

import (
	"errors"
	"log/slog"
	"net"
	"net/url"

	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/confine"
)

// confineProcess gives up what the relay does not use; see package confine. If that is not
// possible, the relay works without it: it is a second wall.
func confineProcess(o *options, api *authorization.APIServer, logger *slog.Logger) {
	needs := needs(o, api)
	abi, err := needs.Apply()
	switch {
	case errors.Is(err, confine.ErrUnsupported):
		logger.Warn("not confined by Landlock: the kernel lacks it, or a seccomp profile forbids it; a taken-over relay could read and write whatever its container can", "err", err)
	case err != nil:
		logger.Warn("not confined by Landlock; a taken-over relay could read and write whatever its container can", "err", err)
	default:
		logger.Info("confined by Landlock", "abi", abi, "readable", needs.Readable(), "writable", "nothing", "connects_to_ports", needs.Connect)
	}
}

// needs returns what the relay uses once its port is open. Pods' sockets are not in it: finding
// them and connecting to them needs no right that Landlock restricts.
func needs(o *options, api *authorization.APIServer) confine.Needs {
	n := confine.Needs{Read: []string{
		"/proc", // for its own metrics
		"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
	}}
	if o.certFile != "" {
		n.Replaced = append(n.Replaced, o.certFile, o.keyFile)
	}
	if api != nil {
		n.Replaced = append(n.Replaced, api.CAFile, api.TokenFile)
		n.Connect = apiServerPorts(api.URL)
	}
	return n
}

// apiServerPorts returns the API server's port and, if it has a name instead of an address, the
// port of DNS over TCP.
func apiServerPorts(address string) []uint16 {
	server, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var ports []uint16
	if port, err := net.LookupPort("tcp", server.Port()); err == nil {
		ports = append(ports, uint16(port))
	}
	if net.ParseIP(server.Hostname()) == nil {
		ports = append(ports, 53)
	}
	return ports
}
