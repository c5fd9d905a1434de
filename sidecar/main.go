// Sidecar shows to Prometheus which hypervisor the VMI beside it runs on. It runs
// in the VMI's virt-launcher pod and asks the libvirt there.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
	"kubevirt-hypervisor-exporter/sidecar/session"
)

const (
	// defaultAddress is where the sidecar listens unless flags name an address.
	defaultAddress = ":9477"
	// keepalive is the time between two pings on an idle connection. With the timeout it
	// bounds how long a libvirt that hangs goes unnoticed: 20 s. It is at most half of the
	// grace period, which counts from the last answer: an idle connection never exceeds that.
	keepalive = 15 * time.Second
)

func main() {
	os.Exit(run(os.Args[1:], os.Getuid(), os.Stdout, os.Stderr))
}

func run(args []string, uid int, out, errOut io.Writer) int {
	return commandline.Run(context.Background(), newCommand(uid, serve), args, out, errOut)
}

// options are what the flags say.
type options struct {
	session         session.Config
	grace           time.Duration
	listenAddresses []string
	bindToDevice    bool
	log             commandline.Logging
}

// newCommand returns the command line, which passes valid options to serve.
func newCommand(uid int, serve func(*options, io.Writer) error) *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "sidecar",
		Short: "Serve to Prometheus which hypervisor the KubeVirt VMI beside it runs on, until SIGTERM",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return commandline.Usage(err)
			}
			return serve(o, cmd.ErrOrStderr())
		},
	}
	o.add(root.Flags(), uid)
	root.AddCommand(showCommand())
	return root
}

func (o *options) add(flags *pflag.FlagSet, uid int) {
	// A pod from an older webhook may get a newer image: it has --listen-address and --bind-to-device.
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.TrimPrefix(name, "web."))
	})
	flags.StringVar(&o.session.Socket, "libvirt-socket", "/var/run/libvirt/virtqemud-sock", "path of libvirt's Unix socket")
	flags.StringVar(&o.session.URI, "libvirt-uri", defaultURI(uid), "libvirt connection URI; the default depends on the uid of this process")
	flags.DurationVar(&o.session.Timeout, "libvirt-timeout", 5*time.Second, "how long libvirt may take to answer before the sidecar connects again")
	flags.DurationVar(&o.grace, "libvirt-grace", 30*time.Second,
		"how long a VMI keeps its type after libvirt's last answer, at least 1s; after that the type is unknown")
	flags.DurationVar(&o.session.Resync, "libvirt-resync", 5*time.Minute, "time between two reads of the domain that no event asked for")
	flags.StringArrayVar(&o.listenAddresses, "listen-address", []string{defaultAddress}, "address to serve on: host:port or unix:///path; repeatable")
	flags.BoolVar(&o.bindToDevice, "bind-to-device", false,
		"accept connections to a host:port only over the network device that holds the host's address, and none over loopback")
	o.log.Add(flags)
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
	switch {
	case o.session.Timeout <= 0:
		return fmt.Errorf("--libvirt-timeout must be more than 0, not %v", o.session.Timeout)
	case o.session.Resync <= 0:
		return fmt.Errorf("--libvirt-resync must be more than 0, not %v", o.session.Resync)
	case o.grace < time.Second:
		return fmt.Errorf("--libvirt-grace must be at least 1s, not %v", o.grace)
	}
	o.session.Keepalive = min(keepalive, o.grace/2)
	for _, address := range o.listenAddresses {
		if err := exposition.CheckAddress(address); err != nil {
			return fmt.Errorf("--listen-address: %w", err)
		}
	}
	return nil
}

// serve runs the way that data takes, from the session to the page, until SIGTERM or
// SIGINT. Nothing else that a pod may send, a closed log pipe included, ends the sidecar:
// the pod counts as unready until it is back.
func serve(o *options, errOut io.Writer) error {
	// The Unix socket is open to every user from its first moment on: between bind
	// and chmod the relay would be refused, and report that something is wrong.
	syscall.Umask(0o111)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	logger := o.log.Logger(errOut)
	logger.Info("starting", "version", version.Info(), "build", version.BuildContext())
	id := identity(logger)
	tracker := hypervisor.NewTracker(id, o.grace, time.Now, logger)
	o.session.Domain = id.DomainName()
	libvirt := session.New(o.session, tracker)
	server := exposition.NewServer(o.listenAddresses, o.bindToDevice, logger)
	handler := exposition.NewHandler(exposition.Config{
		Source:   tracker,
		Now:      time.Now,
		Ready:    server.Ready,
		Restarts: restarts(),
		Logger:   logger,
	})

	var parts sync.WaitGroup
	parts.Go(func() { libvirt.Run(ctx) })
	parts.Go(func() { server.Run(ctx, handler) })
	parts.Wait()
	logger.Info("stopped")
	return nil
}

// restarts returns what the supervisor counted, or -1 without a supervisor.
func restarts() int {
	count, err := strconv.ParseUint(os.Getenv("HYPERVISOR_EXPORTER_RESTARTS"), 10, 31)
	if err != nil {
		return -1
	}
	return int(count)
}

// identity reads which VMI this is from the environment. Without a valid identity the
// sidecar serves and shows no VMI: if it ended, that would harm the VM and explain nothing.
func identity(logger *slog.Logger) hypervisor.Identity {
	id, err := hypervisor.NewIdentity(os.Getenv(hypervisor.EnvNamespace), os.Getenv(hypervisor.EnvName), os.Getenv(hypervisor.EnvNode))
	if err != nil {
		logger.Error("no VMI is shown: its identity is missing or invalid", "err", err)
	}
	return id
}
