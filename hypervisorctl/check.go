package main

import (
	"context"

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
		Short: "Check each step of a metric, from the webhook to Prometheus",
		Long: `Check follows a metric from the webhook to Prometheus and checks each step. It changes nothing: the one pod that it
creates is a dry run.

With -n, it checks the VMs of that namespace and does the dry run there; otherwise all VMs, and the dry run in the
first namespace that is labelled for sidecars. A VM counts as measured only if the source (--source) has its series.

Exit code 0: all is ok. 1: something should be fixed, or could not be checked. 2: VMs have no metric because of what
failed, or the check could not be done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return options.run(cmd.Context()) },
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputText, "text, json or yaml")
	set.BoolVar(&options.all, "all", false, "name all VMs and namespaces that a line is about, not ten")
	return command
}

// unchecked is the error of a check that could not be done.
type unchecked struct{ error }

func (u unchecked) Unwrap() error { return u.error }

func (o *checkOptions) run(ctx context.Context) error {
	if err := checkOutput(o.output, outputText); err != nil {
		return unchecked{err}
	}
	restConfig, connected, err := o.connect()
	if err != nil {
		return unchecked{err}
	}
	request := check.Request{
		Exporter: o.exporter, Relay: o.relay, Namespace: *o.kube.Namespace, Now: o.now(), Progress: o.progress(),
		Unasked: "--source=none",
	}
	if _, err := connected.Version(ctx); err == nil { // otherwise the source would wait for the API server, too
		from, note, err := o.chooseSource(ctx, restConfig, connected, request.Namespace)
		if err != nil {
			return unchecked{err}
		}
		if from != nil {
			defer from.Close()
			request.Source = from
		} else if note != "" {
			request.Unasked = note
		}
	}
	report, err := o.report(ctx, connected, request)
	if err != nil {
		return unchecked{err}
	}
	if code := report.ExitCode(); code != 0 {
		return &codeError{code}
	}
	return nil
}

// report runs the check and writes it: as text step by step, since some steps take seconds.
func (o *checkOptions) report(ctx context.Context, reader check.Reader, request check.Request) (*check.Report, error) {
	if o.output != outputText {
		report := check.Run(ctx, reader, request, func(check.Line) {})
		return report, printObject(o.out, o.output, report)
	}
	most := 10
	if o.all {
		most = 0
	}
	printer := check.NewPrinter(o.out, most)
	report := check.Run(ctx, reader, request, printer.Line)
	return report, printer.End(report)
}
