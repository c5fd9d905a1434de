package main

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/explain"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
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
		Short:   "Explain why a VM runs on its hypervisor",
		Example: examples("explain web -n shop"),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return options.run(cmd.Context(), args[0]) },
	}
	command.Flags().StringVarP(&options.output, "output", "o", outputText, "text, json or yaml")
	return command
}

func (o *explainOptions) run(ctx context.Context, name string) error {
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
	vmi, err := connected.VMI(ctx, vm.Key{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	input := explain.Input{}
	if input.VM, err = o.find(ctx, restConfig, connected, vmi); err != nil {
		return err
	}
	// Node and KubeVirt object belong to the cluster: a user who may not read them gets what the pod says.
	if vmi.Node != "" {
		input.Node, input.NodeErr = connected.Node(ctx, vmi.Node)
	}
	input.KubeVirt, input.KubeVirtErr = connected.KubeVirt(ctx)
	explanation := explain.Explain(input)
	if o.output != outputText {
		return printObject(o.out, o.output, explanation)
	}
	return explain.Print(o.out, explanation)
}

// find reads the VMI's pod and asks what it runs on.
func (o *explainOptions) find(ctx context.Context, restConfig *rest.Config, connected *cluster.Cluster, vmi vm.VMI) (survey.VM, error) {
	var launchers []vm.Launcher
	config := webhookConfig(ctx, connected, o.exporter)
	err := connected.EachLauncher(ctx, vmi.Namespace, config, func(launcher vm.Launcher) {
		if launcher.Owner == vmi.UID {
			launchers = append(launchers, launcher)
		}
	})
	if err != nil {
		return survey.VM{}, err
	}
	request := survey.Request{Namespace: vmi.Namespace, Config: config, Enabled: enabledOnce(connected), Now: o.now(), Note: o.noteEvents}
	found := []survey.VM{survey.One(ctx, request, vmi, launchers)}
	if found[0].Cause.Why != vm.Expected {
		err := survey.Refusals(ctx, connected, request, found)
		return found[0], err
	}
	from, note, err := o.chooseSource(ctx, restConfig, connected, vmi.Namespace)
	if err != nil {
		return survey.VM{}, err
	}
	if note != "" {
		o.note("no type: " + note)
	}
	if from == nil {
		return found[0], nil
	}
	defer from.Close()
	request.Source = from
	return survey.One(ctx, request, vmi, launchers), nil
}
