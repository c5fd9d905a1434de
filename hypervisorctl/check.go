package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
)

type checkOptions struct {
	*flags
	output string
	all    bool
}

func newCheckCommand(common *flags) *cobra.Command {
	options := &checkOptions{flags: common}
	command := &cobra.Command{
		Use:   "check",
		Short: "Check each step of a metric's way, from the webhook to Prometheus",
		Long: `Check follows a metric's way and says of each step whether it holds. It changes nothing: the one pod that it
creates is a dry run.

With -n, the VMs of that namespace are looked at and the dry run is done there; otherwise all VMs, and the first
namespace that asks for sidecars.

Exit code 0: all is well. 1: something is to be mended, or could not be looked at. 2: VMs have no metric because of
what failed, or the check could not be done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return options.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputText, "text, json or yaml")
	set.BoolVar(&options.all, "all", false, "name all VMs and namespaces that a line is about, not ten")
	return command
}

// unchecked is how a check ends that could not be done.
type unchecked struct{ error }

func (u unchecked) Unwrap() error { return u.error }

func (o *checkOptions) run(ctx context.Context, out io.Writer) error {
	if err := checkOutput(o.output, outputText); err != nil {
		return unchecked{err}
	}
	_, connected, err := o.connect()
	if err != nil {
		return unchecked{err}
	}
	request := check.Request{Exporter: o.exporter, Relay: o.relay, Namespace: *o.kube.Namespace, Now: o.now()}
	if o.prometheus.url != "" {
		if request.Prometheus, err = o.prometheusSource(ctx, request.Namespace); err != nil {
			return unchecked{err}
		}
	}
	report, err := o.report(ctx, out, connected, request)
	if err != nil {
		return unchecked{err}
	}
	if code := report.ExitCode(); code != 0 {
		return &codeError{code}
	}
	return nil
}

// report runs the check and writes it: as text step by step, since some take seconds.
func (o *checkOptions) report(ctx context.Context, out io.Writer, reader check.Reader, request check.Request) (*check.Report, error) {
	if o.output != outputText {
		report := check.Run(ctx, reader, request, func(check.Line) {})
		return report, printObject(out, o.output, report)
	}
	most := 10
	if o.all {
		most = 0
	}
	printer := check.NewPrinter(out, most)
	report := check.Run(ctx, reader, request, printer.Line)
	return report, printer.End(report)
}
