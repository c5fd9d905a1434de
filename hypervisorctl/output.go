package main

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// Every value that is printed was written by someone else: a VM's owner, a pod, a server. It is escaped twice. Where it
// enters a line, terminal.Clean or terminal.Writer.Printf leave it no line end; and the writer lets nothing through that a
// terminal would act on.

// The values of --output. Text is for sentences, table and wide for rows.
const (
	outputTable = "table"
	outputWide  = "wide"
	outputText  = "text"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

// checkOutput returns an error unless the output is json, yaml or one of the command's own.
func checkOutput(output string, own ...string) error {
	known := append(own, outputJSON, outputYAML)
	if slices.Contains(known, output) {
		return nil
	}
	return fmt.Errorf("--output=%s: want one of %s", output, strings.Join(known, ", "))
}

// printObject writes json or yaml as kubectl does.
func printObject(out *terminal.Writer, output string, object runtime.Object) error {
	terminal.Clean(object)
	printer, err := genericclioptions.NewJSONYamlPrintFlags().ToPrinter(output)
	if err != nil {
		return fmt.Errorf("--output=%s: %w", output, err)
	}
	return printer.PrintObj(object, out.Filter())
}

// note prints a sentence beside the output. If standard error is gone, the output is left.
func (f *flags) note(text string) { _ = f.errOut.Printf("note: %s\n", text) }
