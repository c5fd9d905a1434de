package command

import (
	"context"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
)

const checkName = "check"

type checkOptions struct {
	*flags
	output *output
	all    bool
}

func newCheckCommand(common *flags) *cobra.Command {
	options := &checkOptions{flags: common, output: newOutput(outputText).withoutTemplates()}
	command := &cobra.Command{
		Use:   checkName,
		Short: "Check each step of a metric, from the webhook to Prometheus",
		Long: `Check follows a metric from the webhook to Prometheus and checks each step. It changes nothing: the one pod that it
creates is a dry run.

With -n, it checks the VMs of that namespace and does the dry run there; otherwise all VMs, and the dry run in the
first namespace that is labelled for sidecars. A VM counts as measured only if the source (--source) has its series.

Exit code 0: all is ok. 1: something should be fixed, or could not be checked. 2: VMs have no metric because of a
failed check, or the check could not be done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := options.run(cmd.Context())
			if err == nil && code != 0 {
				err = &exitError{code, nil}
			}
			return err
		},
	}
	set := command.Flags()
	options.output.add(common, command)
	set.BoolVar(&options.all, "all", false, "name all VMs and namespaces that a line is about, not ten")
	return command
}

// run returns the exit code, and an error if the check could not be done.
func (o *checkOptions) run(ctx context.Context) (int, error) {
	asText, err := o.output.isOwn()
	if err != nil {
		return 0, err
	}
	s, err := o.connect()
	if err != nil {
		return 0, err
	}
	request, done, err := s.checkRequest(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	if !asText {
		report := check.Run(ctx, s.cluster, request, func(check.Line) {})
		return report.ExitCode(), o.output.print(o.out, report)
	}
	most := 10
	if o.all {
		most = 0
	}
	printer := check.NewPrinter(o.out, most) // step by step, since some steps take seconds
	report := check.Run(ctx, s.cluster, request, printer.Line)
	return report.ExitCode(), printer.End(report)
}

// checkRequest returns what check checks, and what to call after it.
func (s *session) checkRequest(ctx context.Context) (request check.Request, done func(), err error) {
	request = check.Request{
		Exporter: s.exporter, Relay: s.relay, Namespace: *s.kube.Namespace, Now: s.now(), NoSource: "--source=none",
	}
	if _, err := s.cluster.Version(ctx); err == nil { // otherwise the source would wait for the API server, too
		from, note, err := s.chooseSource(ctx, request.Namespace)
		if err != nil {
			return request, nil, err
		}
		if from != nil {
			request.Source = from
		} else if note != "" {
			request.NoSource = note
		}
	}
	progress, end := s.errOut.Progress(s.now)
	request.Progress = progress
	return request, func() {
		end()
		if request.Source != nil {
			request.Source.Close()
		}
	}, nil
}
