package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/spf13/pflag"

	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// The values of --authorization.
const (
	delegated = "delegated"
	none      = "none"
)

// options are the command line.
type options struct {
	podsDir       string
	podUID        string // "" if unknown
	listenAddress string
	certFile      string
	keyFile       string
	authorization string
	logging       commandline.Logging
}

// add defines the flags.
func (o *options) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.podsDir, "kubelet-pods-dir", "/var/lib/kubelet/pods", "the kubelet's folder of pods")
	flags.StringVar(&o.podUID, "pod-uid", "", "uid of the relay's own pod; the relay is ready only if --kubelet-pods-dir holds that pod; empty skips this check")
	flags.StringVar(&o.listenAddress, "listen-address", ":9478", "address to serve on: host:port")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "file with the serving certificate, read again when it changes; it may be written later")
	flags.StringVar(&o.keyFile, "tls-private-key-file", "", "file with its key, read again when it changes")
	flags.StringVar(&o.authorization, "authorization", delegated,
		"delegated: a request needs a token that the API server allows to get the nonResourceURL /metrics/vmis (/metrics for the relay's own metrics); none: anyone may scrape")
	o.logging.Add(flags)
}

// check returns what is wrong with the flags.
func (o *options) check() error {
	o.podsDir = filepath.Clean(o.podsDir)
	if o.podUID != "" {
		if _, err := podsocket.ParseUID(o.podUID); err != nil {
			return fmt.Errorf("--pod-uid: %w", err)
		}
	}
	if _, _, err := net.SplitHostPort(o.listenAddress); err != nil {
		return fmt.Errorf("--listen-address must be host:port: %w", err)
	}
	switch {
	case o.authorization != delegated && o.authorization != none:
		return fmt.Errorf("--authorization must be %s or %s, not %q", delegated, none, o.authorization)
	case (o.certFile == "") != (o.keyFile == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	case o.authorization == delegated && o.certFile == "":
		return errors.New("--authorization=delegated takes tokens, which must not be sent unencrypted: set --tls-cert-file and --tls-private-key-file")
	}
	return nil
}
