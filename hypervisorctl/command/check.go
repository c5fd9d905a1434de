package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
)

// outputShort is a line for each result that is not ok.
const outputShort = "short"

const (
	// waitDefault is how long --wait without a value waits.
	waitDefault = 5 * time.Minute
	// waitStep is how long check waits between two runs.
	waitStep = 5 * time.Second
)

const checkName = "check"

type checkOptions struct {
	*flags
	output *output
	all    bool
	pre    bool
	wait   time.Duration
}

func newCheckCommand(common *flags, name string) *cobra.Command {
	options := &checkOptions{flags: common, output: newOutput(outputText, outputShort).withoutTemplates()}
	command := &cobra.Command{
		Use:   checkName,
		Short: "Check each step of a metric, from the webhook to Prometheus",
		Long: `Check follows a metric from the webhook to Prometheus and checks each step. It changes nothing: the pods that it
creates are dry runs.

With -n, it checks the VMs of that namespace and does the dry run there; otherwise all VMs, and the dry run in the ten
enabled namespaces with most VMs. A VM counts as measured only if the source (--source) has its series.

Exit code 0: all is ok. 1: something should be fixed, or could not be checked. 2: VMs have no metric, or alerts about
them cannot fire, because of a failed check; or the check could not be done.`,
		Example: examples(name, "check", "check -n shop -o short", "check --pre", "check --wait=2m"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := options.run(cmd.Context(), cmd.Flags().Changed("wait"))
			if err != nil {
				return err
			}
			if code := report.ExitCode(); code != 0 {
				return &exitError{code, nil}
			}
			return nil
		},
	}
	set := command.Flags()
	options.output.add(common, command)
	set.BoolVar(&options.all, "all", false, "name all VMs and namespaces that a line is about, not ten")
	set.BoolVar(&options.pre, "pre", false, "check before an installation whether the cluster has what it needs")
	set.DurationVar(&options.wait, "wait", waitDefault, "check again until all is ok, for at most that long; prints the last result")
	set.Lookup("wait").NoOptDefVal = waitDefault.String()
	return command
}

// run returns an error if the check could not be done.
func (o *checkOptions) run(ctx context.Context, wait bool) (*check.Report, error) {
	asText, err := o.output.isOwn()
	switch {
	case err != nil:
		return nil, err
	case o.wait <= 0:
		return nil, fmt.Errorf("--wait=%s: must be more than 0", o.wait)
	}
	s, err := o.connect()
	if err != nil {
		return nil, err
	}
	if !wait && asText { // step by step, since some steps take seconds
		printer, show := o.printer()
		report, err := o.once(ctx, s, show)
		if err != nil {
			return nil, err
		}
		return report, o.end(printer, report)
	}
	attempt := func() (*check.Report, error) { return o.once(ctx, s, func(check.Line) {}) }
	var report *check.Report
	if wait {
		report, err = untilOK(ctx, o.wait, attempt, o.waiting)
	} else {
		report, err = attempt()
	}
	if err != nil {
		return nil, err
	}
	return report, o.print(report, asText)
}

// once checks once.
func (o *checkOptions) once(ctx context.Context, s *session, show func(check.Line)) (*check.Report, error) {
	if o.pre {
		return check.Before(ctx, s.cluster, check.Request{Exporter: o.exporter, Relay: o.relay}, show), nil
	}
	request, done, err := s.checkRequest(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return check.Run(ctx, s.cluster, request, show), nil
}

// checkRequest returns what check checks, and what to call after it.
func (s *session) checkRequest(ctx context.Context) (request check.Request, done func(), err error) {
	request = check.Request{
		Exporter: s.exporter, Relay: s.relay, Namespace: *s.kube.Namespace, Now: s.now(), NoSource: "--source=none",
	}
	if s.prometheus.url != "" {
		client, err := s.prometheus.client()
		if err != nil {
			return request, nil, err
		}
		if request.Prometheus, err = source.NewServer(s.prometheus.url, client); err != nil {
			return request, nil, err
		}
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

// untilOK tries again until all is ok or the time is over, and returns the last result. It calls waiting before it waits.
func untilOK(ctx context.Context, atMost time.Duration, attempt func() (*check.Report, error), waiting func(*check.Report, error)) (*check.Report, error) {
	over := time.NewTimer(atMost)
	defer over.Stop()
	for {
		report, err := attempt()
		if err == nil && report.Result == check.OK {
			return report, nil
		}
		waiting(report, err)
		pause := time.NewTimer(waitStep)
		select {
		case <-pause.C:
		case <-over.C:
			pause.Stop()
			return report, err
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
	}
}

// waiting shows on standard error what check waits for: the first line that is not ok.
func (o *checkOptions) waiting(report *check.Report, err error) {
	if err != nil {
		o.note("waiting: " + err.Error())
		return
	}
	for _, line := range report.Lines {
		if line.Level == report.Result {
			o.note("waiting: " + line.Level.String() + ": " + line.Section + ": " + line.Text)
			return
		}
	}
}

// printer returns a printer of text or short lines, and what shows a line with it.
func (o *checkOptions) printer() (*check.Printer, func(check.Line)) {
	most := 10
	if o.all {
		most = 0
	}
	printer := check.NewPrinter(o.out, most)
	if *o.output.OutputFormat == outputShort {
		return printer, printer.Short
	}
	return printer, printer.Line
}

func (o *checkOptions) end(printer *check.Printer, report *check.Report) error {
	if *o.output.OutputFormat == outputShort {
		return printer.Err()
	}
	return printer.End(report)
}

// print prints a whole report.
func (o *checkOptions) print(report *check.Report, asText bool) error {
	if !asText {
		return o.output.print(o.out, report)
	}
	printer, show := o.printer()
	for _, line := range report.Lines {
		show(line)
	}
	return o.end(printer, report)
}
