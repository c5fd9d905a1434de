package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// exitUsage is the exit code for wrong flags.
const exitUsage = 2

// The values of --authorization.
const (
	delegated = "delegated"
	none      = "none"
)

// options is what the command line says.
type options struct {
	podsDir          string
	podUID           podsocket.UID // "" is not known
	listenAddress    string
	webConfigFile    string
	certFile         string
	keyFile          string
	authorization    string
	maxInFlight      int
	maxInFlightPod   int
	maxResponseBytes int64
	timeout          time.Duration
	log              promslog.Config
}

// parse reads the command line. On an error it has written one line and the usage.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	app := application(o, stderr)
	_, err := app.Parse(args)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "relay: error: %v\n", err)
		app.Usage(nil)
		return nil, err
	}
	return o, nil
}

func application(o *options, stderr io.Writer) *kingpin.Application {
	app := kingpin.New("relay", "Carries Prometheus' scrapes to the hypervisor exporter's sidecars on this node: GET /pods/{pod-uid}/metrics.")
	app.UsageWriter(stderr)
	app.HelpFlag.Short('h')

	app.Flag("kubelet-pods-dir", "The kubelet's folder of pods.").
		Default("/var/lib/kubelet/pods").StringVar(&o.podsDir)
	app.Flag("pod-uid", "The uid of the relay's own pod; the relay is ready only where --kubelet-pods-dir holds that pod. Empty leaves this out.").
		StringVar((*string)(&o.podUID))
	app.Flag("web.listen-address", "Address to serve on: host:port.").
		Default(":9478").StringVar(&o.listenAddress)
	app.Flag("web.config.file", "Path to a configuration file that can enable TLS or authentication, instead of --tls-cert-file. See https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md").
		StringVar(&o.webConfigFile)
	app.Flag("tls-cert-file", "File with the serving certificate, read again when it changes; it may come later.").
		StringVar(&o.certFile)
	app.Flag("tls-private-key-file", "File with its key, read again when it changes.").
		StringVar(&o.keyFile)
	app.Flag("authorization", "delegated: a request must carry a token that the API server allows to get the nonResourceURL /metrics/vmis (/metrics for the relay's own metrics). none: everybody may ask.").
		Default(delegated).EnumVar(&o.authorization, delegated, none)
	app.Flag("max-in-flight", "How many scrapes may be under way; more get 503.").
		Default("256").IntVar(&o.maxInFlight)
	app.Flag("max-in-flight-per-pod", "How many scrapes of one pod may be under way; more get 429.").
		Default("4").IntVar(&o.maxInFlightPod)
	app.Flag("max-response-bytes", "How large a pod's page may be, as it is sent; the sidecar's has 3 kB, or 10 kB with --web.runtime-metrics.").
		Default("262144").Int64Var(&o.maxResponseBytes)
	app.Flag("timeout", "How long a scrape may take; the scraper's own timeout counts where it is less.").
		Default("10s").DurationVar(&o.timeout)
	promslogflag.AddFlags(app, &o.log)
	app.Version(version.Print("relay"))
	app.VersionFlag.Short('V')
	return app
}

func (o *options) check() error {
	for _, bound := range []struct {
		flag  string
		value int64
	}{
		{"max-in-flight", int64(o.maxInFlight)},
		{"max-in-flight-per-pod", int64(o.maxInFlightPod)},
		{"max-response-bytes", o.maxResponseBytes},
		{"timeout", int64(o.timeout)},
	} {
		if bound.value <= 0 {
			return fmt.Errorf("--%s must be more than 0", bound.flag)
		}
	}
	o.podsDir = filepath.Clean(o.podsDir)
	if o.podUID != "" {
		if _, err := podsocket.ParseUID(string(o.podUID)); err != nil {
			return fmt.Errorf("--pod-uid: %w", err)
		}
	}
	if _, _, err := net.SplitHostPort(o.listenAddress); err != nil {
		return fmt.Errorf("--web.listen-address: want host:port: %w", err)
	}
	return o.checkTLS()
}

func (o *options) checkTLS() error {
	switch {
	case (o.certFile == "") != (o.keyFile == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	case o.certFile != "" && o.webConfigFile != "":
		return errors.New("--tls-cert-file and --web.config.file exclude each other: both may say how TLS is served")
	case o.authorization == delegated && o.certFile == "" && o.webConfigFile == "":
		return errors.New("--authorization=delegated takes tokens, which must not go unencrypted: give --tls-cert-file and --tls-private-key-file, or --web.config.file with TLS")
	}
	return nil
}
