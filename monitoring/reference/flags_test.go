package reference

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/flags.md has each command of each program with its flags, as --help prints them.
func TestFlags(t *testing.T) {
	tables := map[string]string{"exitCodes": exitCodes(t)}
	for _, program := range []string{"sidecar", "relay", "webhook", "hypervisorctl"} {
		tables[program] = commandSections(t, []string{program})
	}
	requireTables(t, "docs/flags.md", tables)
}

var (
	commandLine = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)
	flagLine    = regexp.MustCompile(`^ +(?:-(\w), |    )--([\w-]+)(?: (\S+))? {2,}(.*)$`)
	continued   = regexp.MustCompile(`\n {9,}`) // a flag's line begins with fewer blanks
	defaultText = regexp.MustCompile(` \(default (.*)\)$`)
)

// commandSections are a command's flags and those of its subcommands, one section each.
func commandSections(t *testing.T, command []string) string {
	t.Helper()
	help := helpOf(t, command)
	before, rest, _ := strings.Cut(help, "\nUsage:\n")
	_, commands, _ := strings.Cut(rest, "\nAvailable Commands:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	_, flags, _ := strings.Cut(rest, "\nFlags:\n")
	flags, _, _ = strings.Cut(flags, "\n\n") // those of the command above follow

	summary, _, _ := strings.Cut(strings.TrimSpace(before), "\n\n")
	text := fmt.Sprintf("### %s\n\n%s.\n\n", strings.Join(command, " "), strings.TrimSuffix(strings.ReplaceAll(summary, "\n", " "), "."))
	if rows := flagRows(t, flags); len(rows) > 0 {
		text += table("flag | default | meaning", rows) + "\n"
	}
	for _, match := range commandLine.FindAllStringSubmatch(commands, -1) {
		if name := match[1]; name != "help" && name != "version" && name != "completion" {
			text += commandSections(t, append(command[:len(command):len(command)], name))
		}
	}
	return text
}

func flagRows(t *testing.T, flags string) [][]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(continued.ReplaceAllString(flags, " ")) {
		match := flagLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		require.NotNil(t, match, "not understood: %s", line)
		name, meaning := "--"+match[2], match[4]
		if name == "--help" {
			continue
		}
		if match[1] != "" {
			name = "-" + match[1] + ", " + name
		}
		if match[3] != "" {
			name += " " + match[3]
		}
		value := ""
		if found := defaultText.FindStringSubmatch(meaning); found != nil {
			value, meaning = strings.Trim(found[1], `"`), strings.TrimSuffix(meaning, found[0])
		}
		if match[2] == "libvirt-uri" {
			value = "" // it depends on who runs the test
		}
		rows = append(rows, []string{code(name), code(value), meaning})
	}
	return rows
}

func helpOf(t *testing.T, command []string) string {
	t.Helper()
	help := exec.Command(binary(command[0]), append(command[1:len(command):len(command)], "--help")...)
	help.Env = append(os.Environ(), "HOME=/home/you", "KUBECONFIG=")
	output, err := help.CombinedOutput()
	require.NoError(t, err, "%s: %s", command, output)
	return string(output)
}

// exitCodes has what each program exits with after a wrong command line.
func exitCodes(t *testing.T) string {
	t.Helper()
	var rows [][]string
	for _, line := range [][]string{
		{"sidecar", "--no-such-flag"}, {"supervisor"}, {"relay", "--no-such-flag"}, {"webhook", "serve", "--no-such-flag"},
		{"hypervisorctl", "list", "--no-such-flag"}, {"hypervisorctl", "check", "--no-such-flag"},
	} {
		command := exec.Command(binary(line[0]), line[1:]...)
		output, err := command.CombinedOutput()
		require.Error(t, err, "%s: %s", line, output)
		rows = append(rows, []string{code(strings.TrimSuffix(strings.Join(line, " "), " --no-such-flag")), strconv.Itoa(command.ProcessState.ExitCode())})
	}
	return table("command | exit code of a wrong command line", rows)
}
