// Hypervisorctl shows which hypervisor each KubeVirt VM runs on, why, and why a VM has no metric. As kubectl-hypervisor on
// the PATH it is the plugin "kubectl hypervisor".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

func main() {
	// client-go's own log would be between the lines of a table; what matters is returned as an error.
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := run(ctx, streams, nil)
	stop()
	os.Exit(code)
}

// run runs a command line and returns the exit code. No arguments are those of the program.
func run(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	out, errOut := terminal.NewWriter(streams.Out), terminal.NewWriter(streams.ErrOut)
	command := newCommand(newFlags(out, errOut))
	command.SetIn(streams.In)
	if args != nil {
		command.SetArgs(args)
	}
	return exitCode(command.ExecuteContext(ctx), errOut)
}

// exitCode prints an error that was not printed yet, and returns 0 for done, 1 for an error; check has codes of its own.
func exitCode(err error, errOut *terminal.Writer) int {
	var code *codeError
	var failed unchecked
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &failed):
		_ = errOut.Printf("error: %s\n", err) // if standard error is gone, the exit code is left
		return 2
	default:
		_ = errOut.Printf("error: %s\n", err) // if standard error is gone, the exit code is left
		return 1
	}
}

// codeError ends the program with a code; everything was printed.
type codeError struct{ code int }

// Error implements error.
func (e *codeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// newCommand is the whole command line.
func newCommand(flags *flags) *cobra.Command {
	root := &cobra.Command{
		Use:           "hypervisorctl",
		Short:         "Show which hypervisor each KubeVirt VM runs on, and why",
		SilenceUsage:  true,
		SilenceErrors: true,
		// They would be on lines of their own in an error.
		DisableSuggestions: true,
		// "kubectl hypervisor" in the usage if it is installed as a plugin.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: displayName(os.Args[0])},
	}
	root.SetOut(flags.out.Filter())
	root.SetErr(flags.errOut.Filter())
	root.CompletionOptions.DisableDefaultCmd = true
	flags.add(root.PersistentFlags())
	root.AddCommand(newListCommand(flags), newCheckCommand(flags), newExplainCommand(flags), newVersionCommand(flags))
	return root
}

func newVersionCommand(flags *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and how it was built",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return flags.out.Printf("hypervisorctl %s\n%s\n", version.Info(), version.BuildContext())
		},
	}
}
