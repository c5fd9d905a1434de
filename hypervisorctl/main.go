// Hypervisorctl tells which hypervisor each KubeVirt VM runs on, why, and what keeps a metric of it from arriving. As
// kubectl-hypervisor on the PATH it is the plugin "kubectl hypervisor".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
)

func main() {
	// client-go's own log would stand between the lines of a table; what matters comes back as an error.
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := newCommand(streams, newFlags()).ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode prints an error that has not been told, and says how to exit: 0 done, 1 error; check has codes of its own.
func exitCode(err error, errOut io.Writer) int {
	var code *codeError
	var failed unchecked
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &failed):
		_, _ = fmt.Fprintln(errOut, "error:", err)
		return 2
	default:
		_, _ = fmt.Fprintln(errOut, "error:", err)
		return 1
	}
}

// codeError ends the program with a code, with everything said.
type codeError struct{ code int }

// Error implements error.
func (e *codeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// newCommand is the whole command line.
func newCommand(streams genericiooptions.IOStreams, flags *flags) *cobra.Command {
	root := &cobra.Command{
		Use:           "hypervisorctl",
		Short:         "Tells which hypervisor each KubeVirt VM runs on, and why",
		SilenceUsage:  true,
		SilenceErrors: true,
		// "kubectl hypervisor" in the usage where it is installed as a plugin.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: displayName(os.Args[0])},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.CompletionOptions.DisableDefaultCmd = true
	flags.add(root.PersistentFlags())
	root.AddCommand(newListCommand(flags), newCheckCommand(flags), newExplainCommand(flags), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and how it was built",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "hypervisorctl %s\n%s\n", version.Info(), version.BuildContext())
			return err
		},
	}
}
