package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/sidecar/session"
)

// exitUsage is the exit code for wrong flags: EX_USAGE of sysexits.h. Not 2, with
// which a Go program exits that panics: the supervisor starts that anew, but not
// one that would fail in the same way again.
const exitUsage = 64

// keepalive is the time between two pings on an idle connection. With the timeout it
// bounds how long a libvirt that hangs goes unnoticed: 20 s. It is at most half of the
// grace period, which counts from the last answer: an idle connection never exceeds that.
const keepalive = 15 * time.Second

// The commands.
const (
	commandServe       = "serve"
	commandShow        = "show"
	commandHealthcheck = "healthcheck"
)

// options is what the command line says.
type options struct {
	command         string
	session         session.Config
	grace           time.Duration
	listenAddresses []string
	listenGiven     bool
	webConfigFile   string
	bindToDevice    bool
	telemetryPath   string
	runtimeMetrics  bool
	log             promslog.Config
}

// parse reads the command line. On an error it has written one line and the usage.
func parse(args []string, uid int, stderr io.Writer) (*options, error) {
	o := &options{}
	app := application(o, uid, stderr)
	command, err := app.Parse(args)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "sidecar: error: %v\n", err)
		app.Usage(nil)
		return nil, err
	}
	o.command = command
	return o, nil
}

func application(o *options, uid int, stderr io.Writer) *kingpin.Application {
	app := kingpin.New("sidecar", "Shows to Prometheus which hypervisor the KubeVirt VMI beside it runs on.")
	app.UsageWriter(stderr)
	app.HelpFlag.Short('h')
	app.Command(commandServe, "Serve metrics until SIGTERM.").Default()
	app.Command(commandShow, "Print the metrics of the running sidecar, which is found on its socket where --web.listen-address is not given; exit 1 if there are none.")
	app.Command(commandHealthcheck, "Ask the running sidecar on its first listen address; exit 0 if it serves, 1 if not.")

	app.Flag("libvirt.socket", "Path of libvirt's Unix socket.").
		Default("/var/run/libvirt/virtqemud-sock").StringVar(&o.session.Socket)
	app.Flag("libvirt.uri", "libvirt connection URI; the default depends on the uid that the sidecar runs with.").
		Default(defaultURI(uid)).StringVar(&o.session.URI)
	app.Flag("libvirt.timeout", "How long libvirt may take to answer before the connection is made anew.").
		Default("5s").DurationVar(&o.session.Timeout)
	app.Flag("libvirt.grace", "How long a VMI keeps its type after libvirt's last answer; after that the type is unknown. At least 1s.").
		Default("30s").DurationVar(&o.grace)
	app.Flag("libvirt.resync", "Time between two looks at the domain that no event asked for.").
		Default("5m").DurationVar(&o.session.Resync)
	app.Flag("web.listen-address", "Address to serve on: host:port or unix:///path. Repeatable.").
		Default(":9477").IsSetByUser(&o.listenGiven).StringsVar(&o.listenAddresses)
	app.Flag("web.bind-to-device", "Take connections to a host:port only over the network device that holds the host's address, and none over loopback: a health check does not reach it either.").
		BoolVar(&o.bindToDevice)
	app.Flag("web.config.file", "Path to a configuration file that can enable TLS or authentication. See https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md").
		StringVar(&o.webConfigFile)
	app.Flag("web.telemetry-path", "Path under which metrics are served.").
		Default("/metrics").StringVar(&o.telemetryPath)
	app.Flag("web.runtime-metrics", "Serve go_* and process_* metrics, too: some 40 series more.").
		BoolVar(&o.runtimeMetrics)
	promslogflag.AddFlags(app, &o.log)
	app.Version(version.Print("sidecar"))
	app.VersionFlag.Short('V')
	return app
}

// defaultURI is that of the daemon which KubeVirt runs in the pod: a session
// daemon, unless virt-launcher runs in the legacy root mode.
func defaultURI(uid int) string {
	if uid == 0 {
		return "qemu:///system"
	}
	return "qemu:///session"
}

func (o *options) check() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"libvirt.timeout", o.session.Timeout},
		{"libvirt.resync", o.session.Resync},
	} {
		if d.value <= 0 {
			return fmt.Errorf("--%s must be more than 0, not %v", d.flag, d.value)
		}
	}
	if o.grace < time.Second {
		return fmt.Errorf("--libvirt.grace must be at least 1s, not %v", o.grace)
	}
	o.session.Keepalive = min(keepalive, o.grace/2)
	for _, address := range o.listenAddresses {
		if err := exposition.CheckAddress(address); err != nil {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	return o.checkTelemetryPath()
}

func (o *options) checkTelemetryPath() error {
	switch path := o.telemetryPath; {
	case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{} "):
		return fmt.Errorf("--web.telemetry-path must begin with / and hold no space or brace, not %q", path)
	case path == "/" || path == "/healthz" || path == "/readyz":
		return fmt.Errorf("--web.telemetry-path must not be %s, which serves something else", path)
	default:
		return nil
	}
}
