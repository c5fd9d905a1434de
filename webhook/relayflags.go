package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"kubevirt-hypervisor-exporter/webhook/certs"
)

// relayFlags are about the node relay's certificates.
type relayFlags struct {
	names      certs.Names
	serverName string
	settle     time.Duration
}

func (f *relayFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.names.Namespace, "relay-namespace", "hypervisor-exporter-relay", "namespace of the relay, its Secrets and its ConfigMap")
	flags.StringVar(&f.names.ServingSecret, "relay-secret", "", "existing Secret for the relay's certificate; empty: no relay")
	flags.StringVar(&f.names.CASecret, "relay-ca-secret", "hypervisor-exporter-relay-ca", "existing Secret for the relay's CA and its key, which no pod mounts")
	flags.StringVar(&f.names.TrustConfigMap, "relay-ca-configmap", "hypervisor-exporter-relay-ca", "existing ConfigMap for the CAs that Prometheus should trust, in ca.crt")
	flags.StringVar(&f.serverName, "relay-server-name", "hypervisor-exporter-relay.hypervisor-exporter-relay.svc", "name that Prometheus verifies the relay by")
	flags.DurationVar(&f.settle, "relay-settle", 10*time.Minute, "as --settle, for the relay: kubelets and the Prometheus operator have to bring Secret and ConfigMap to where they are used")
}

func (f *relayFlags) validate() error {
	if f.settle < 0 {
		return errors.New("--relay-settle: want 0 or more")
	}
	return nil
}
