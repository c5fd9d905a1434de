package main

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"

	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/confine"
)

// serviceAccount is where the kubelet mounts the pod's service account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// confineProcess gives up what the relay does not use; see package confine. Where that
// is not possible the relay goes on without: it is a second wall.
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

// needs is what the relay uses once its port is open. Pods' sockets need nothing: they are found
// and connected to without a right that Landlock restricts.
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

// apiServerPorts are the API server's and, where it has a name instead of an address, that of
// DNS over TCP.
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

// apiServer is nil where no token is checked.
func apiServer(o *options) (*authorization.APIServer, error) {
	if o.authorization == none {
		return nil, nil
	}
	server, err := authorization.InCluster(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"), serviceAccount)
	return &server, err
}
