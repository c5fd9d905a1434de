package main

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/listing"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

type listOptions struct {
	*flags
	output    string
	selector  string
	all       bool
	noHeaders bool
}

func newListCommand(common *flags) *cobra.Command {
	options := &listOptions{flags: common}
	command := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List VMs with the hypervisor that each runs on",
		Example: examples("list -A", "list -n shop -l team=blue -o wide"),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return options.run(cmd.Context()) },
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputTable, "table, wide, json or yaml")
	set.StringVarP(&options.selector, "selector", "l", "", "labels of the VMIs, such as team=blue")
	set.BoolVarP(&options.all, "all-namespaces", "A", false, "VMIs of all namespaces")
	set.BoolVar(&options.noHeaders, "no-headers", false, "do not print the table's header")
	return command
}

func (o *listOptions) run(ctx context.Context) error {
	if err := checkOutput(o.output, outputTable, outputWide); err != nil {
		return err
	}
	restConfig, connected, err := o.connect()
	if err != nil {
		return err
	}
	namespace := ""
	if !o.all {
		if namespace, err = o.namespace(); err != nil {
			return err
		}
	}
	from, note, err := o.chooseSource(ctx, restConfig, connected, namespace)
	if err != nil {
		return err
	}
	if from != nil {
		defer from.Close()
	}
	vms, err := survey.List(ctx, connected, survey.Request{
		Namespace: namespace, Selector: o.selector, Source: from,
		Config: webhookConfig(ctx, connected, o.exporter), Enabled: enabledOnce(connected),
		Now: o.now(), Note: o.noteEvents,
	}, o.progress())
	if err != nil {
		return err
	}
	if note != "" { // beside an error it would distract
		o.note("no types: " + note)
	}
	return o.print(listing.NewList(vms), namespace)
}

func (o *listOptions) print(list *listing.List, namespace string) error {
	if o.output == outputJSON || o.output == outputYAML {
		return printObject(o.out, o.output, list)
	}
	if len(list.Items) == 0 {
		if namespace == "" {
			return o.errOut.Printf("No VMs in any namespace.\n")
		}
		return o.errOut.Printf("No VMs in the namespace %s.\n", namespace)
	}
	terminal.Clean(list)
	printer := printers.NewTablePrinter(printers.PrintOptions{
		WithNamespace: o.all, Wide: o.output == outputWide, NoHeaders: o.noHeaders,
	})
	if err := printer.PrintObj(listing.Table(list, o.now()), o.out.Filter()); err != nil {
		return err
	}
	for _, note := range listing.Notes(list) {
		o.note(note)
	}
	return nil
}

// noteEvents says once for all VMs that their events could not be read.
func (f *flags) noteEvents(err error) { f.note("what refused pods is not known: " + err.Error()) }

// webhookConfig is the webhook's configuration; if the user may not read it, the webhook's defaults.
func webhookConfig(ctx context.Context, connected *cluster.Cluster, namespace string) inject.Config {
	deployment, err := connected.Deployment(ctx, namespace, product.Webhook)
	if err != nil {
		return product.Unread()
	}
	config, err := product.ConfigOf(deployment)
	if err != nil {
		return product.Unread()
	}
	return config
}

// enabledOnce reads each namespace's label when it is needed first.
func enabledOnce(connected *cluster.Cluster) func(context.Context, string) vm.Enabled {
	return survey.Once(func(ctx context.Context, namespace string) vm.Enabled {
		labels, err := connected.Namespace(ctx, namespace)
		if err != nil {
			return vm.EnabledUnknown
		}
		return vm.EnabledBy(labels)
	})
}

// progress is shown if a person watches.
func (f *flags) progress() survey.Progress {
	if f.errOut.IsTerminal() {
		return survey.NewLine(f.errOut, f.now)
	}
	return survey.Silent{}
}
