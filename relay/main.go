// Relay carries Prometheus' scrapes to the sidecars of the VMs on its node, over
// the Unix sockets in their pods. It knows no metric and no libvirt: the way is
// request → pod uid → opened socket → bytes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/internal/commandline"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var o options
	root := &cobra.Command{
		Use:   "relay",
		Short: "Carry Prometheus' scrapes to the hypervisor exporter's sidecars on this node: GET /pods/{pod-uid}/metrics",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return commandline.Usage(err)
			}
			logger := o.logging.Logger(errOut)
			logger.Info("starting", "version", version.Info(), "build", version.BuildContext())
			if err := serve(cmd.Context(), &o, logger); err != nil {
				return err
			}
			logger.Info("stopped")
			return nil
		},
	}
	o.add(root.Flags())
	return commandline.Run(ctx, root, args, out, errOut)
}
