package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
)

type listOptions struct {
	*flags
	output        *output
	selector      string
	fieldSelector string
	sortBy        string
	all           bool
	noHeaders     bool
	problems      bool
	watching      bool
}

// outputColumns is the beginning of --output=custom-columns=….
const outputColumns = "custom-columns="

func newListCommand(common *flags, name string) *cobra.Command {
	options := &listOptions{flags: common, output: newOutput(outputTable, outputWide, outputColumns+"…")}
	command := &cobra.Command{
		Use:     "list [VMI ...]",
		Aliases: []string{"ls"},
		Short:   "List VMs with the hypervisor that each runs on",
		Example: examples(name, "list -A", "list -A --problems", "list web db -n shop", "list -n shop -l team=blue -o wide", "list -A --sort-by=.type",
			"list -A -o custom-columns=VM:.name,NODE:.node,QEMU:.hypervisorVersion", "list -o jsonpath='{.items[*].name}'"),
		RunE: func(cmd *cobra.Command, args []string) error { return options.run(cmd.Context(), args) },
	}
	options.output.add(common, command)
	set := command.Flags()
	set.StringVarP(&options.selector, "selector", "l", "", "labels of the VMIs, such as team=blue")
	set.StringVar(&options.fieldSelector, "field-selector", "", "fields of the VMIs, as far as the API server can select by them: metadata.name=web")
	set.StringVar(&options.sortBy, "sort-by", "", "field to sort by, such as .type; the fields are those of -o json")
	set.BoolVarP(&options.all, "all-namespaces", "A", false, "VMIs of all namespaces")
	set.BoolVar(&options.problems, "problems", false, "only VMs with a problem; explain says what to do")
	set.BoolVarP(&options.watching, "watch", "w", false, "then print each VM that changes, until interrupted")
	set.BoolVar(&options.noHeaders, "no-headers", false, "do not print the table's header")
	command.ValidArgsFunction = common.completeVMs(math.MaxInt)
	common.completeFlag(command, "sort-by", func(context.Context) ([]string, error) { return rowFields(), nil })
	return command
}

// selection returns what selects the VMIs: each name, or the selectors.
func (o *listOptions) selection(names []string) ([]metav1.ListOptions, error) {
	if len(names) == 0 {
		return []metav1.ListOptions{{LabelSelector: o.selector, FieldSelector: o.fieldSelector}}, nil
	}
	if o.all || o.selector != "" || o.fieldSelector != "" {
		return nil, errors.New("names of VMIs do not go with --all-namespaces, --selector or --field-selector")
	}
	var selection []metav1.ListOptions
	for _, name := range names {
		selection = append(selection, metav1.SingleObject(metav1.ObjectMeta{Name: name}))
	}
	return selection, nil
}

func (o *listOptions) run(ctx context.Context, args []string) error {
	own, err := o.columns()
	if err != nil {
		return err
	}
	if o.sortBy != "" {
		if _, err := parseField(o.sortBy); err != nil {
			return fmt.Errorf("--sort-by: %w", err)
		}
	}
	if o.sortBy != "" && o.watching {
		return errors.New("--sort-by does not go with --watch")
	}
	names := make([]string, len(args))
	for i, argument := range args {
		if names[i], err = vmiName(argument); err != nil {
			return err
		}
	}
	selection, err := o.selection(names)
	if err != nil {
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
	vms, note, err := s.survey(ctx, namespace, selection...)
	if err != nil {
		return err
	}
	if note != "" { // beside an error it would distract
		o.note("no types: " + note)
	}
	list := NewList(vms)
	gone := missing(list, names, namespace) // before any is left out
	if o.problems {
		if unknown := list.onlyProblems(); unknown > 0 {
			o.note(fmt.Sprintf("nothing is reported about %s: list without --problems shows why", survey.Count(unknown, "running VM", "running VMs")))
		}
	}
	if o.sortBy != "" {
		if err := sortRows(list.Items, o.sortBy); err != nil {
			return err
		}
	}
	if o.watching {
		return o.watch(ctx, s, list, own, namespace, selection)
	}
	if err := o.print(list, own, namespace, len(names) > 0); err != nil {
		return err
	}
	return gone
}

// columns returns those of a table; none if the output is not one.
func (o *listOptions) columns() ([]column, error) {
	if spec, found := strings.CutPrefix(*o.output.OutputFormat, outputColumns); found {
		return customColumns(spec)
	}
	if own, err := o.output.isOwn(); !own {
		return nil, err
	}
	return columns(o.now(), o.problems), nil
}

// missing returns an error if names were given that no VMI has.
func missing(list *List, names []string, namespace string) error {
	var none []string
	for _, name := range names {
		if !slices.ContainsFunc(list.Items, func(row Row) bool { return row.Name == name }) {
			none = append(none, strconv.Quote(name))
		}
	}
	if len(none) == 0 {
		return nil
	}
	return fmt.Errorf("there is no VMI %s in the namespace %s", strings.Join(none, ", "), namespace)
}

func (o *listOptions) print(list *List, columns []column, namespace string, named bool) error {
	if columns == nil {
		if *o.output.OutputFormat != outputName {
			return o.output.print(o.out, list)
		}
		for _, row := range list.Items {
			if err := o.output.print(o.out, reference(row.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	what := map[bool]string{false: "No VMs", true: "No VMs with a known problem"}[o.problems]
	switch {
	case len(list.Items) > 0:
	case named && !o.problems: // an error follows
		return nil
	case namespace == "":
		return o.errOut.Printf("%s in any namespace.\n", what)
	default:
		return o.errOut.Printf("%s in the namespace %s.\n", what, namespace)
	}
	if err := o.out.Buffered(func(out io.Writer) error { return o.printer().PrintObj(table(list.Items, columns), out) }); err != nil {
		return err
	}
	for _, note := range notes(list) {
		o.note(note)
	}
	return nil
}

// printer prints tables.
func (o *listOptions) printer() printers.ResourcePrinter {
	return printers.NewTablePrinter(printers.PrintOptions{
		WithNamespace: o.all && !strings.HasPrefix(*o.output.OutputFormat, outputColumns),
		Wide:          *o.output.OutputFormat == outputWide, NoHeaders: o.noHeaders,
	})
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
