// Package command is the command line of hypervisorctl, in the dialect of kubectl.
package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/internal/commandline"
)

// Run runs a command line, whose first word is the program's path, and returns the exit code: 0 for done, 1 for an error;
// check has codes of its own.
func Run(ctx context.Context, streams genericiooptions.IOStreams, line []string) int {
	out, errOut := terminal.NewWriter(streams.Out), terminal.NewWriter(streams.ErrOut)
	out.AllowColours(os.Getenv)
	command := newCommand(newFlags(out, errOut), displayName(line[0]))
	command.SetIn(streams.In)
	command.SetArgs(line[1:])
	called, err := command.ExecuteContextC(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
	case called.Name() == checkName: // where 1 is a result
		exit = &exitError{2, err}
	default:
		exit = &exitError{1, err}
	}
	if exit.error != nil {
		_ = errOut.Printf("error: %s\n", exit.error) // if standard error is closed, the exit code still reports it
	}
	return exit.code
}

// exitError ends the program with a code. Its error is printed; nil if everything was printed.
type exitError struct {
	code int
	error
}

// newCommand returns the whole command line.
func newCommand(flags *flags, name string) *cobra.Command {
	root := &cobra.Command{
		Use:           "hypervisorctl",
		Short:         "Show which hypervisor each KubeVirt VM runs on, and why",
		SilenceUsage:  true,
		SilenceErrors: true,
		// They would be on lines of their own in an error.
		DisableSuggestions: true,
		// "kubectl hypervisor" in the usage if it is installed as a plugin.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: name},
	}
	root.SetOut(flags.out.Filter())
	root.SetErr(flags.errOut.Filter())
	flags.add(root.PersistentFlags())
	root.AddCommand(newListCommand(flags, name), newCheckCommand(flags, name), newExplainCommand(flags, name), newRulesCommand(flags, name),
		newRBACCommand(flags, name), newCollectCommand(flags, name), commandline.VersionCommand("hypervisorctl"))
	flags.complete(root)
	return root
}

// examples returns command lines as the user would type them.
func examples(name string, lines ...string) string {
	prefix := "  " + name + " "
	return prefix + strings.Join(lines, "\n"+prefix)
}

// displayName returns how the user calls the program: kubectl runs kubectl-hypervisor for "kubectl hypervisor".
func displayName(path string) string {
	if name := filepath.Base(path); strings.HasPrefix(name, "kubectl-") {
		return strings.ReplaceAll(name, "-", " ")
	}
	return "hypervisorctl"
}
