package command

import (
	"context"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
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

Exit code 0: all is ok. 1: something should be fixed, or could not be checked. 2: VMs have no metric, or alerts about
them cannot fire, because of a failed check; or the check could not be done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := options.run(cmd.Context())
			switch {
			case err != nil:
				return &exitError{2, err}
			case code != 0:
				return &exitError{code, nil}
			}
			return nil
		},
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputText, "text, json or yaml")
	set.BoolVar(&options.all, "all", false, "name all VMs and namespaces that a line is about, not ten")
	return command
}

// run returns the exit code, and an error if the check could not be done.
func (o *checkOptions) run(ctx context.Context) (int, error) {
	if err := checkOutput(o.output, outputText); err != nil {
		return 0, err
	}
	s, err := o.connect()
	if err != nil {
		return 0, err
	}
	progress, done := o.errOut.Progress(o.now)
	defer done()
	request := check.Request{
		Exporter: o.exporter, Relay: o.relay, Namespace: *o.kube.Namespace, Now: o.now(), Progress: progress, NoSource: "--source=none",
	}
	if s.prometheus.url != "" {
		client, err := s.prometheus.client()
		if err != nil {
			return 0, err
		}
		if request.Prometheus, err = source.NewServer(s.prometheus.url, client); err != nil {
			return 0, err
		}
	}
	if _, err := s.cluster.Version(ctx); err == nil { // otherwise the source would wait for the API server, too
		from, note, err := s.chooseSource(ctx, request.Namespace)
		if err != nil {
			return 0, err
		}
		if from != nil {
			defer from.Close()
			request.Source = from
		} else if note != "" {
			request.NoSource = note
		}
	}
	if o.output != outputText {
		report := check.Run(ctx, s.cluster, request, func(check.Line) {})
		return report.ExitCode(), printObject(o.out, o.output, report)
	}
	most := 10
	if o.all {
		most = 0
	}
	printer := check.NewPrinter(o.out, most) // step by step, since some steps take seconds
	report := check.Run(ctx, s.cluster, request, printer.Line)
	return report.ExitCode(), printer.End(report)
}
