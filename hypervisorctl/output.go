package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// The values of --output. Text is for sentences, table and wide for rows.
const (
	outputTable = "table"
	outputWide  = "wide"
	outputText  = "text"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

// checkOutput refuses what is neither json, yaml nor one of the command's own, before anything is asked.
func checkOutput(output string, own ...string) error {
	known := append(own, outputJSON, outputYAML)
	if slices.Contains(known, output) {
		return nil
	}
	return fmt.Errorf("--output=%s: want one of %s", output, strings.Join(known, ", "))
}

// printObject writes json or yaml as kubectl does.
func printObject(out io.Writer, output string, object runtime.Object) error {
	printer, err := genericclioptions.NewJSONYamlPrintFlags().ToPrinter(output)
	if err != nil {
		return fmt.Errorf("--output=%s: %w", output, err)
	}
	return printer.PrintObj(object, out)
}
