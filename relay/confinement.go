package main

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v2"

	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/confine"
)

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
	if o.webConfigFile != "" {
		n.Replaced = append(n.Replaced, o.webConfigFile)
		n.Replaced = append(n.Replaced, webConfigNames(o.webConfigFile)...)
	}
	if api != nil {
		n.Replaced = append(n.Replaced, api.CAFile, api.TokenFile)
		n.Connect = apiServerPorts(api.URL)
	}
	return n
}

// webConfigNames returns the files that exporter-toolkit's file names. It is read again for each
// connection; files outside of these folders that it names later cannot be read.
func webConfigNames(file string) []string {
	var config struct {
		TLS struct {
			Cert     string `yaml:"cert_file"`
			Key      string `yaml:"key_file"`
			ClientCA string `yaml:"client_ca_file"`
		} `yaml:"tls_server_config"`
	}
	content, err := os.ReadFile(file)
	if err != nil || yaml.Unmarshal(content, &config) != nil {
		return nil // exporter-toolkit says what is wrong with it
	}
	var names []string
	for _, name := range []string{config.TLS.Cert, config.TLS.Key, config.TLS.ClientCA} {
		switch {
		case name == "":
		case filepath.IsAbs(name):
			names = append(names, name)
		default:
			names = append(names, filepath.Join(filepath.Dir(file), name))
		}
	}
	return names
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
