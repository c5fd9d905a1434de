package command

import (
	"context"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/explain"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

type explainOptions struct {
	*flags
	output string
}

func newExplainCommand(common *flags, name string) *cobra.Command {
	options := &explainOptions{flags: common}
	command := &cobra.Command{
		Use:     "explain VMI",
		Short:   "Explain why a VM runs on its hypervisor",
		Example: examples(name, "explain web -n shop"),
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
	s, err := o.connect()
	if err != nil {
		return err
	}
	namespace, err := o.namespace()
	if err != nil {
		return err
	}
	vmi, err := s.cluster.VMI(ctx, namespace, name)
	if err != nil {
		return err
	}
	input := explain.Input{}
	if input.VM, err = s.find(ctx, vmi); err != nil {
		return err
	}
	// Node and KubeVirt object belong to the cluster: a user who may not read them gets the pod's part.
	if vmi.Node != "" {
		input.Node, input.NodeErr = cluster.Get(ctx, s.cluster.CoreV1().Nodes().Get, vmi.Node)
	}
	input.KubeVirt, input.KubeVirtErr = s.cluster.KubeVirt(ctx)
	explanation := explain.Explain(input)
	if o.output != outputText {
		return printObject(o.out, o.output, explanation)
	}
	return explain.Print(o.out, explanation)
}

// find reads the VMI's pod and asks a source for its type.
func (s *session) find(ctx context.Context, vmi vm.VMI) (survey.VM, error) {
	request := s.request(ctx, vmi.Namespace)
	var launchers []vm.Launcher
	err := s.cluster.EachLauncher(ctx, vmi.Namespace, request.Config, func(launcher vm.Launcher) {
		if launcher.Owner == vmi.UID {
			launchers = append(launchers, launcher)
		}
	})
	if err != nil {
		return survey.VM{}, err
	}
	found := []survey.VM{survey.One(ctx, request, vmi, launchers)}
	if found[0].Cause.Why != vm.Expected {
		err := survey.Refusals(ctx, s.cluster, request, found)
		return found[0], err
	}
	from, note, err := s.chooseSource(ctx, vmi.Namespace)
	if err != nil {
		return survey.VM{}, err
	}
	if note != "" {
		s.note("no type: " + note)
	}
	if from == nil {
		return found[0], nil
	}
	defer from.Close()
	request.Source = from
	return survey.One(ctx, request, vmi, launchers), nil
}
