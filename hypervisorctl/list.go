package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/printers"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/listing"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			return options.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputTable, "table, wide, json or yaml")
	set.StringVarP(&options.selector, "selector", "l", "", "labels of the VMIs, such as team=blue")
	set.BoolVarP(&options.all, "all-namespaces", "A", false, "VMIs of all namespaces")
	set.BoolVar(&options.noHeaders, "no-headers", false, "leave the table's first line out")
	return command
}

func (o *listOptions) run(ctx context.Context, out, errOut io.Writer) error {
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
	var notes bytes.Buffer // beside an error they would be beside the point
	sources, err := o.sources(ctx, restConfig, connected, namespace, &notes)
	if err != nil {
		return err
	}
	for _, one := range sources {
		defer one.Close()
	}
	list, err := listing.Collect(ctx, connected, listing.Request{
		Namespace: namespace, Selector: o.selector, Sources: sources,
		Config: webhookConfig(ctx, connected, o.exporter), Enabled: enabledOnce(connected),
	}, progressOn(errOut, o.flags))
	if err != nil {
		return err
	}
	_, _ = notes.WriteTo(errOut) // as those of the list
	return o.print(out, errOut, list, namespace)
}

func (o *listOptions) print(out, errOut io.Writer, list *listing.List, namespace string) error {
	if o.output == outputJSON || o.output == outputYAML {
		return printObject(out, o.output, list)
	}
	if len(list.Items) == 0 {
		where := "the namespace " + namespace
		if namespace == "" {
			where = "any namespace"
		}
		_, err := fmt.Fprintf(errOut, "No VMs in %s.\n", where)
		return err
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{
		WithNamespace: o.all, Wide: o.output == outputWide, NoHeaders: o.noHeaders,
	})
	if err := printer.PrintObj(listing.Table(list, o.now()), out); err != nil {
		return err
	}
	for _, note := range listing.Notes(list) {
		_, _ = fmt.Fprintln(errOut, "note:", note) // standard error may be gone; the list is not
	}
	return nil
}

// webhookConfig is what the webhook decides by or, for whoever may not read it, its defaults.
func webhookConfig(ctx context.Context, connected *cluster.Cluster, namespace string) inject.Config {
	deployment, err := connected.Deployment(ctx, namespace)
	if err != nil {
		return product.Unread()
	}
	config, err := product.ConfigOf(deployment)
	if err != nil {
		return product.Unread()
	}
	return config
}

// enabledOnce reads each namespace's label when it is first asked for. It may be called from many goroutines.
func enabledOnce(connected *cluster.Cluster) func(context.Context, string) vm.Enabled {
	var mu sync.Mutex
	known := map[string]vm.Enabled{}
	return func(ctx context.Context, namespace string) vm.Enabled {
		mu.Lock()
		defer mu.Unlock()
		enabled, asked := known[namespace]
		if !asked {
			if labels, err := connected.Namespace(ctx, namespace); err == nil {
				enabled = check.EnabledBy(labels)
			}
			known[namespace] = enabled
		}
		return enabled
	}
}

// progressOn shows progress where somebody sits before a terminal.
func progressOn(errOut io.Writer, common *flags) listing.Progress {
	if file, ok := errOut.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return listing.NewLine(errOut, common.now)
	}
	return listing.Silent{}
}
