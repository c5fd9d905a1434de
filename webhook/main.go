// The webhook of the KubeVirt hypervisor exporter: it adds the exporter's
// sidecar to virt-launcher pods, shows on the command line what it would add,
// and keeps its own certificates.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
)

const program = "hypervisor-exporter-webhook"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := newCommand(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// newCommand is the whole command line.
func newCommand(in io.Reader, out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           program,
		Short:         "Adds the hypervisor exporter's sidecar to KubeVirt's virt-launcher pods",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newServeCommand(), newInjectCommand(), newCertsCommand(), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and how it was built",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Not version.Print: its text/template calls methods by name, for
			// which the linker keeps every method of every Kubernetes type,
			// 4 MB of them (measured).
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n%s\n", program, version.Info(), version.BuildContext())
			return err
		},
	}
}
