package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func newInjectCommand() *cobra.Command {
	var sidecar sidecarFlags
	var file, format string
	var options inject.RunOptions
	command := &cobra.Command{
		Use:   "inject",
		Short: "Print pods as the webhook would inject them, without a cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := sidecar.parse()
			if err != nil {
				return err
			}
			options.Format = inject.Format(format)
			in, err := open(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			return inject.Run(config, in, cmd.OutOrStdout(), cmd.ErrOrStderr(), options)
		},
	}
	flags := command.Flags()
	sidecar.add(flags, unsetSidecarImage)
	flags.StringVarP(&file, "filename", "f", "-", "file with pods; - is standard input")
	flags.StringVarP(&format, "output", "o", string(inject.FormatYAML), "yaml or json")
	flags.BoolVar(&options.Explain, "explain", false, "print why each pod is or is not injected, instead of the pods")
	return command
}

func open(file string, stdin io.Reader) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(stdin), nil
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--filename: %w", err)
	}
	return in, nil
}
