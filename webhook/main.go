// The webhook of the KubeVirt hypervisor exporter adds the exporter's sidecar to
// virt-launcher pods (serve), prints on the command line what it would add (inject), and
// makes and renews its certificates (certs).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := commandline.Run(ctx, newCommand(), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hypervisor-exporter-webhook",
		Short: "Adds the hypervisor exporter's sidecar to KubeVirt's virt-launcher pods",
	}
	root.AddCommand(newServeCommand(), newInjectCommand(), newCertsCommand())
	return root
}

func newInjectCommand() *cobra.Command {
	config := inject.Default(inject.UnsetImage) // serve has no default
	var file, format string
	var options inject.RunOptions
	command := &cobra.Command{
		Use:   "inject",
		Short: "Print pods as the webhook would inject them, without a cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Validate(); err != nil {
				return commandline.Usage(err)
			}
			options.Format = inject.Format(format)
			in := cmd.InOrStdin()
			if file != "-" {
				opened, err := os.Open(file)
				if err != nil {
					return fmt.Errorf("--filename: %w", err)
				}
				defer func() { _ = opened.Close() }()
				in = io.Reader(opened)
			}
			return inject.Run(config, in, cmd.OutOrStdout(), cmd.ErrOrStderr(), options)
		},
	}
	flags := command.Flags()
	config.AddFlags(flags)
	flags.StringVarP(&file, "filename", "f", "-", "file with pods; - is standard input")
	flags.StringVarP(&format, "output", "o", string(inject.FormatYAML), "yaml or json")
	flags.BoolVar(&options.Explain, "explain", false, "print why each pod is or is not injected, instead of the pods")
	return command
}
