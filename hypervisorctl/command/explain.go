package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/explain"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

type explainOptions struct {
	*flags
	output *output
}

func newExplainCommand(common *flags, name string) *cobra.Command {
	options := &explainOptions{flags: common, output: newOutput(outputText)}
	command := &cobra.Command{
		Use:     "explain VMI",
		Short:   "Explain why a VM is slow or does not run, and why it runs on its hypervisor",
		Example: examples(name, "explain web -n shop", "explain vmi/web -o jsonpath='{.verdict}'"),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return options.run(cmd.Context(), args[0]) },
	}
	options.output.add(common, command)
	command.ValidArgsFunction = common.completeVMs(1)
	return command
}

func (o *explainOptions) run(ctx context.Context, argument string) error {
	name, err := vmiName(argument)
	if err != nil {
		return err
	}
	asText, err := o.output.isOwn()
	if err != nil {
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
	vms, note, err := s.survey(ctx, namespace, metav1.SingleObject(metav1.ObjectMeta{Name: name}))
	if err != nil {
		return err
	}
	if len(vms) == 0 {
		return fmt.Errorf("there is no VMI %q in the namespace %s", name, namespace)
	}
	input := explain.Input{VM: vms[0]}
	if note != "" && input.Cause.Why == vm.Expected { // otherwise no source would have been asked
		s.note("no type: " + note)
	}
	// Node and KubeVirt object belong to the cluster: a user who may not read them gets the pod's part.
	if input.VMI.Node != "" {
		input.Node, input.NodeErr = cluster.Get(ctx, s.cluster.CoreV1().Nodes().Get, input.VMI.Node)
	}
	input.KubeVirt, input.KubeVirtErr = s.cluster.KubeVirt(ctx)
	explanation := explain.Explain(input)
	switch {
	case asText:
		return explain.Print(o.out, explanation)
	case *o.output.OutputFormat == outputName:
		return o.output.print(o.out, reference(explanation.Name))
	default:
		return o.output.print(o.out, explanation)
	}
}
