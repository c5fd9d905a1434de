// Package commandline holds what the command lines of all programs share: how a command
// is run and its error reported, the flags of the log, and the command that prints the version.
package commandline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ExitUsage is the exit code for a wrong command line: EX_USAGE of sysexits.h. It is not 2,
// the exit code of a Go program that panics: the supervisor restarts a sidecar that
// panicked, but not one that would fail again in the same way.
const ExitUsage = 64

// Run runs args and returns the exit code: 0, ExitUsage for a wrong command line, 1 for any
// other error. It writes one line for an error. The program also gets the command "version".
func Run(ctx context.Context, root *cobra.Command, args []string, out, errOut io.Writer) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(VersionCommand(root.Name()))
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	parsed := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		// cobra would check them after this.
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return err
		}
		parsed = true
		return nil
	}

	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case !parsed || errors.As(err, &usage):
		fmt.Fprintf(errOut, "error: %v; see %s --help\n", err, root.Name())
		return ExitUsage
	default:
		fmt.Fprintf(errOut, "error: %v\n", err)
		return 1
	}
}

type usageError struct{ error }

// Usage marks err as the fault of the command line: Run then returns ExitUsage. Usage(nil) is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// VersionCommand prints the program's version and how it was built.
func VersionCommand(program string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and how it was built",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Not version.Print: its text/template calls methods by name, for which the linker
			// keeps every method of every Kubernetes type: 4 MB in the webhook (measured).
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n%s\n", program, version.Info(), version.BuildContext())
			return err
		},
	}
}

// Logging is the flags --log-level and --log-format.
type Logging struct {
	level  *promslog.Level
	format *promslog.Format
}

// Add defines the flags. The default is JSON from level info on.
func (l *Logging) Add(flags *pflag.FlagSet) {
	l.level, l.format = promslog.NewLevel(), promslog.NewFormat()
	_ = l.format.Set("json") // one of FormatFlagOptions
	flags.Var(value{l.level, "level"}, "log-level", fmt.Sprintf("lowest level that is logged, one of %v", promslog.LevelFlagOptions))
	flags.Var(value{l.format, "format"}, "log-format", fmt.Sprintf("format of the log, one of %v", promslog.FormatFlagOptions))
}

// Logger returns a logger that writes to w as the flags say. Call it after the flags were parsed.
func (l *Logging) Logger(w io.Writer) *slog.Logger {
	return promslog.New(&promslog.Config{Level: l.level, Format: l.format, Writer: w})
}

// value makes a pflag.Value of promslog's level and format.
type value struct {
	value interface {
		String() string
		Set(string) error
	}
	kind string
}

func (v value) String() string {
	if v.value == nil {
		return ""
	}
	return v.value.String()
}
func (v value) Set(s string) error { return v.value.Set(s) }
func (v value) Type() string       { return v.kind }
