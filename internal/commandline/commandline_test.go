package commandline

import (
	"bytes"
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		err    error
		code   int
		stderr string
	}{
		"done":             {nil, nil, 0, ""},
		"failed":           {nil, errors.New("disk full"), 1, "error: disk full\n"},
		"wrong value":      {nil, Usage(errors.New("--port must be more than 0")), ExitUsage, "error: --port must be more than 0; see program --help\n"},
		"unknown flag":     {[]string{"--no-such"}, nil, ExitUsage, "error: unknown flag: --no-such; see program --help\n"},
		"unknown command":  {[]string{"serv"}, nil, ExitUsage, "error: unknown command \"serv\" for \"program\"; see program --help\n"},
		"wrong log level":  {[]string{"--log-level=loud"}, nil, ExitUsage, "unrecognized log level loud"},
		"version":          {[]string{"version"}, errors.New("not run"), 0, ""},
		"version argument": {[]string{"version", "x"}, nil, ExitUsage, "see program --help"},
	} {
		t.Run(name, func(t *testing.T) {
			var logging Logging
			root := &cobra.Command{Use: "program", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return c.err }}
			logging.Add(root.Flags())
			var out, errOut bytes.Buffer
			require.Equal(t, c.code, Run(t.Context(), root, c.args, &out, &errOut))
			require.Contains(t, errOut.String(), c.stderr)
		})
	}
}

func TestLogging(t *testing.T) {
	var logging Logging
	root := &cobra.Command{Use: "program"}
	logging.Add(root.Flags())
	require.NoError(t, root.ParseFlags([]string{"--log-level=warn"}))
	var log bytes.Buffer
	logger := logging.Logger(&log)
	logger.Info("left out")
	logger.Warn("kept", "key", 1)
	require.Contains(t, log.String(), `"msg":"kept","key":1}`)
	require.NotContains(t, log.String(), "left out")
}
