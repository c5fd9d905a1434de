package command

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompletion(t *testing.T) {
	const noFiles = ":4\n"
	for line, want := range map[string]string{
		"list -o j":                  "json\njsonpath\njsonpath-as-json\njsonpath-file\n" + noFiles,
		"list -o cu":                 "custom-columns=\n" + noFiles,
		"check -o ":                  "text\nshort\njson\nyaml\nkyaml\n" + noFiles,
		"list --sort-by sidecarV":    "sidecarVersion\n" + noFiles,
		"list --source r":            "relay\n" + noFiles,
		"check ":                     noFiles,
		"list --context ":            noFiles, // the kubeconfig is empty
		"explain web ":               noFiles, // it takes one name
		"completion ":                "bash\tGenerate the autocompletion script for bash\nfish\tGenerate the autocompletion script for fish\npowershell\tGenerate the autocompletion script for powershell\nzsh\tGenerate the autocompletion script for zsh\n" + noFiles,
		"list --prometheus-ca-file ": ":0\n", // files
	} {
		got := call(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		require.Zero(t, got.code)
		require.Equal(t, want, got.out, line)
	}
}

// The scripts are printed as they are, tabs included.
func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "__start_hypervisorctl", "zsh": "#compdef hypervisorctl", "fish": "complete -c hypervisorctl"} {
		got := call(t, "completion", shell)
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, want)
		require.NotContains(t, got.out, `\u00`)
	}
	got := call(t, "completion", "bash")
	bash := exec.CommandContext(t.Context(), "bash", "-n")
	bash.Stdin = strings.NewReader(got.out)
	output, err := bash.CombinedOutput()
	require.NoError(t, err, string(output))
}
