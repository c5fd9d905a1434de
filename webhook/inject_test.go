package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command fails (main ends with 1) where there is nothing to explain, or a flag would keep every VM without a sidecar.
func TestInjectFails(t *testing.T) {
	for name, test := range map[string]struct {
		input string
		args  []string
		want  string
	}{
		"nothing to explain":      {"kind: VirtualMachine\n", []string{"--explain"}, `the input holds "VirtualMachine": no virt-launcher pod`},
		"no such architecture":    {"", []string{"--sidecar-architectures=amd64,x86_64"}, `architecture "x86_64"`},
		"no architecture":         {"", []string{"--sidecar-architectures="}, "want at least one"},
		"memory that is too low":  {"", []string{"--sidecar-memory=16Mi"}, "want 24Mi to 256Mi"},
		"no file of the name":     {"", []string{"-f", "/no/such/file"}, "--filename"},
		"an argument too many":    {"", []string{"pod.yaml"}, "pod.yaml"},
		"no quantity as a memory": {"", []string{"--sidecar-memory=much"}, "--sidecar-memory"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			command := newCommand(strings.NewReader(test.input), &out, &errOut)
			command.SetArgs(append([]string{"inject"}, test.args...))
			require.ErrorContains(t, command.Execute(), test.want)
			require.Empty(t, out.String())
		})
	}
}
