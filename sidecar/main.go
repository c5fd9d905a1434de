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
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
	"kubevirt-hypervisor-exporter/sidecar/session"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	options, err := parse(args, os.Getuid(), stderr)
	if err != nil {
		return exitUsage
	}
	switch options.command {
	case commandHealthcheck:
		return exitCode(checkHealth(options.listenAddresses[0], options.webConfigFile), stderr)
	case commandShow:
		return exitCode(show(options.showAddress(), options.telemetryPath, stdout), stderr)
	}
	// The Unix socket is open to every user from its first moment on: between bind
	// and chmod the relay would be refused, and say that something is wrong.
	syscall.Umask(0o111)
	ctx, stop := untilTerminated()
	defer stop()
	serve(ctx, options)
	return 0
}

// exitCode prints the error of a command that asks the running sidecar.
func exitCode(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// untilTerminated gives a context that ends with SIGTERM or SIGINT. Nothing else
// that a pod may send, a closed log pipe included, is to end the sidecar: the
// pod counts as unready until it is back.
func untilTerminated() (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// serve runs the way that data takes, from the session to the page, until ctx ends.
func serve(ctx context.Context, options *options) {
	logger := promslog.New(&options.log)
	logger.Info("starting", "version", version.Info(), "build", version.BuildContext())
	id := identity(logger)
	tracker := hypervisor.NewTracker(id, options.grace, time.Now, logger)
	options.session.Domain = id.DomainName()
	libvirt := session.New(options.session, tracker)
	server := exposition.NewServer(options.listenAddresses, options.webConfigFile, options.bindToDevice, logger)
	handler := exposition.NewHandler(exposition.Config{
		Source:         tracker,
		Now:            time.Now,
		Ready:          server.Ready,
		TelemetryPath:  options.telemetryPath,
		RuntimeMetrics: options.runtimeMetrics,
		Restarts:       restarts(),
		Logger:         logger,
	})

	var parts sync.WaitGroup
	parts.Go(func() { libvirt.Run(ctx) })
	parts.Go(func() { server.Run(ctx, handler) })
	parts.Wait()
	logger.Info("stopped")
}

// restarts is what the supervisor counted, or -1 where there is none.
func restarts() int {
	count, err := strconv.ParseUint(os.Getenv("HYPERVISOR_EXPORTER_RESTARTS"), 10, 31)
	if err != nil {
		return -1
	}
	return int(count)
}

// identity reads who the VMI is. Without a valid identity the sidecar serves on
// and shows no VMI: ending would harm the VM, and not say more.
func identity(logger *slog.Logger) hypervisor.Identity {
	id, err := hypervisor.NewIdentity(os.Getenv(hypervisor.EnvNamespace), os.Getenv(hypervisor.EnvName), os.Getenv(hypervisor.EnvNode))
	if err != nil {
		logger.Error("no VMI is shown: its identity is missing or invalid", "err", err)
	}
	return id
}
