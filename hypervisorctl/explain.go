package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/explain"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

type explainOptions struct {
	*flags
	output string
}

func newExplainCommand(common *flags) *cobra.Command {
	options := &explainOptions{flags: common}
	command := &cobra.Command{
		Use:     "explain VMI",
		Short:   "Explain why a VM runs on the hypervisor that it runs on",
		Example: examples("explain web -n shop"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return options.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	command.Flags().StringVarP(&options.output, "output", "o", outputText, "text, json or yaml")
	return command
}

func (o *explainOptions) run(ctx context.Context, name string, out, errOut io.Writer) error {
	if err := checkOutput(o.output, outputText); err != nil {
		return err
	}
	restConfig, connected, err := o.connect()
	if err != nil {
		return err
	}
	namespace, err := o.namespace()
	if err != nil {
		return err
	}
	input, err := o.input(ctx, connected, vm.Key{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	if input.Launcher != nil && input.VMI.Phase == vm.Running {
		sources, err := o.sources(ctx, restConfig, connected, namespace, errOut)
		if err != nil {
			return err
		}
		observe(ctx, sources, &input, enabledOnce(connected))
	}
	explanation := explain.Explain(input)
	if o.output != outputText {
		return printObject(out, o.output, explanation)
	}
	return explain.Print(out, explanation)
}

// input reads what an explanation rests on. Without the VMI or its pods there is none; the node and the KubeVirt object
// are of the cluster, and whoever may not see them is told what the pod alone says.
func (o *explainOptions) input(ctx context.Context, connected *cluster.Cluster, key vm.Key) (explain.Input, error) {
	vmi, err := connected.VMI(ctx, key)
	if err != nil {
		return explain.Input{}, err
	}
	input := explain.Input{VMI: vmi}
	var launchers []vm.Launcher
	err = connected.EachLauncher(ctx, key.Namespace, webhookConfig(ctx, connected, o.exporter), func(launcher vm.Launcher) {
		launchers = append(launchers, launcher)
	})
	if err != nil {
		return explain.Input{}, err
	}
	if chosen, ok := vm.Choose(vmi, launchers); ok {
		input.Launcher = &chosen
	}
	if vmi.Node != "" {
		input.Node, input.NodeErr = connected.Node(ctx, vmi.Node)
		if input.NodeErr != nil {
			input.Node = nil
		}
	}
	input.KubeVirt, input.KubeVirtErr = connected.KubeVirt(ctx)
	return input, nil
}

// observe asks for the type that the VM really has.
func observe(ctx context.Context, sources []source.Source, input *explain.Input, enabled func(context.Context, string) vm.Enabled) {
	for _, one := range sources {
		defer one.Close()
	}
	cause := vm.Diagnose(input.VMI, input.Launcher, enabled(ctx, input.VMI.Namespace))
	if cause.Why != vm.Expected {
		input.Unknown = cause.Sentence()
		return
	}
	finding, by, err := source.First(ctx, sources, source.Target{VMI: input.VMI, Launcher: *input.Launcher})
	switch {
	case err != nil:
		input.Unknown = err.Error()
	case by == "":
		input.Unknown = "no source was asked (--source)"
	default:
		input.Finding, input.Source = &finding, by
	}
}
