package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
)

type listOptions struct {
	*flags
	output    string
	selector  string
	all       bool
	noHeaders bool
	problems  bool
}

func newListCommand(common *flags, name string) *cobra.Command {
	options := &listOptions{flags: common}
	command := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List VMs with the hypervisor that each runs on",
		Example: examples(name, "list -A", "list -n shop -l team=blue -o wide", "list -A --problems"),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return options.run(cmd.Context()) },
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputTable, "table, wide, json or yaml")
	set.StringVarP(&options.selector, "selector", "l", "", "labels of the VMIs, such as team=blue")
	set.BoolVarP(&options.all, "all-namespaces", "A", false, "VMIs of all namespaces")
	set.BoolVar(&options.problems, "problems", false, "only VMs with a problem; explain says what to do")
	set.BoolVar(&options.noHeaders, "no-headers", false, "do not print the table's header")
	return command
}

func (o *listOptions) run(ctx context.Context) error {
	if err := checkOutput(o.output, outputTable, outputWide); err != nil {
		return err
	}
	s, err := o.connect()
	if err != nil {
		return err
	}
	namespace := ""
	if !o.all {
		if namespace, err = o.namespace(); err != nil {
			return err
		}
	}
	vms, note, err := s.survey(ctx, namespace, metav1.ListOptions{LabelSelector: o.selector})
	if err != nil {
		return err
	}
	if note != "" { // beside an error it would distract
		o.note("no types: " + note)
	}
	list := NewList(vms)
	if o.problems {
		if unknown := list.onlyProblems(); unknown > 0 {
			o.note(fmt.Sprintf("nothing is reported about %s: list without --problems shows why", survey.Count(unknown, "running VM", "running VMs")))
		}
	}
	return o.print(list, namespace)
}

func (o *listOptions) print(list *List, namespace string) error {
	if o.output == outputJSON || o.output == outputYAML {
		return printObject(o.out, o.output, list)
	}
	if len(list.Items) == 0 {
		what := map[bool]string{false: "No VMs", true: "No VMs with a known problem"}[o.problems]
		if namespace == "" {
			return o.errOut.Printf("%s in any namespace.\n", what)
		}
		return o.errOut.Printf("%s in the namespace %s.\n", what, namespace)
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{
		WithNamespace: o.all, Wide: o.output == outputWide, NoHeaders: o.noHeaders,
	})
	if err := printer.PrintObj(table(list, o.now(), o.problems), o.out.Filter()); err != nil {
		return err
	}
	for _, note := range notes(list) {
		o.note(note)
	}
	return nil
}

// notes returns why the types of VMs were not found out, in sentences that do not fit into a column: one for each reason,
// the most frequent first.
func notes(list *List) []string {
	byReason := map[string][]string{}
	for _, row := range list.Items {
		if row.Reason == notFoundOut {
			byReason[row.ReasonText] = append(byReason[row.ReasonText], row.Name)
		}
	}
	var notes []string
	for _, reason := range survey.MostFrequent(byReason) {
		notes = append(notes, fmt.Sprintf("the type of %s is not known: %s", survey.Count(len(byReason[reason]), "VM", "VMs"), reason))
	}
	return notes
}
