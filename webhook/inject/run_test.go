package inject_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func run(t *testing.T, input string, options inject.RunOptions) (out, warn string) {
	t.Helper()
	var o, w bytes.Buffer
	require.NoError(t, inject.Run(testConfig(), strings.NewReader(input), &o, &w, options))
	return o.String(), w.String()
}

func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

const configMap = "# kept\napiVersion: v1\nkind: ConfigMap\ndata: {b: 'x', a: y} # as it is\n"

func TestRunPassesOtherDocumentsThrough(t *testing.T) {
	crlf := "--- # two\r\nkind: x\r\n"
	input := "---\n" + configMap + crlf + "--- # three\n" + file(t, "testdata/masq.yaml") + "---\n" + file(t, "testdata/opted-out.yaml") + "---\n# the end"
	want := "---\n" + configMap + crlf + "--- # three\n" + file(t, "testdata/masq.golden.yaml") + "---\n" + file(t, "testdata/opted-out.yaml") + "---\n# the end"
	out, warn := run(t, input, inject.RunOptions{Format: inject.FormatYAML})
	require.Equal(t, want, out)
	require.Empty(t, warn)
}

func TestRunReadsAndWritesJSON(t *testing.T) {
	_, podJSON, _ := readInput(t, "testdata/newer-fields")
	out, _ := run(t, string(podJSON), inject.RunOptions{Format: inject.FormatJSON})
	require.Equal(t, canonical(t, podJSON), canonical(t, []byte(out)))
	require.Contains(t, out, `"name": "hypervisor-exporter"`)
	require.Contains(t, out, "12345678901234567890")

	out, _ = run(t, "# comment\n---\n"+configMap, inject.RunOptions{Format: inject.FormatJSON})
	require.True(t, json.Valid([]byte(out)), out)
	require.Contains(t, out, `"ConfigMap"`)
}

func TestRunWarns(t *testing.T) {
	_, warn := run(t, file(t, "testdata/hostile-annotations.yaml"), inject.RunOptions{})
	require.Equal(t, 3, strings.Count(warn, "\n"), warn)
	require.Equal(t, 3, strings.Count(warn, `pod "default/virt-launcher-masq-…": hypervisor-exporter: `), warn)
}

func TestRunExplains(t *testing.T) {
	out, warn := run(t, configMap+"---\n"+file(t, "testdata/opted-out.yaml"), inject.RunOptions{Explain: true})
	require.Equal(t, file(t, "testdata/opted-out.decision"), out)
	require.Empty(t, warn)
}

func TestRunOfNothing(t *testing.T) {
	for _, input := range []string{"", "\n", "---\n", "---\n---\n"} {
		out, _ := run(t, input, inject.RunOptions{})
		require.Equal(t, input, out)
	}
}

func TestRunFails(t *testing.T) {
	pod := file(t, "testdata/masq.yaml")
	tests := map[string]struct {
		input   string
		out     io.Writer
		options inject.RunOptions
		want    string
	}{
		"bad YAML":      {configMap + "---\na: [\n", io.Discard, inject.RunOptions{}, "document 2: read YAML"},
		"not a pod":     {"apiVersion: v1\nkind: Pod\nspec: 1\n", io.Discard, inject.RunOptions{}, "document 1: parse pod"},
		"format":        {pod, io.Discard, inject.RunOptions{Format: "xml"}, `output format "xml"`},
		"broken output": {pod, brokenWriter{}, inject.RunOptions{}, "document 1: broken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := inject.Run(testConfig(), strings.NewReader(test.input), test.out, io.Discard, test.options)
			require.ErrorContains(t, err, test.want)
		})
	}
	require.ErrorContains(t, inject.Run(inject.Config{}, strings.NewReader(pod), io.Discard, io.Discard, inject.RunOptions{}), "sidecar image")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestRunSeesADocumentOnTheSeparatorsLine(t *testing.T) {
	_, podJSON, _ := readInput(t, "testdata/masq")
	out, _ := run(t, "a: b\n--- "+string(podJSON)+"\n--- {c: d}\n", inject.RunOptions{})
	require.Equal(t, "a: b\n---\n"+file(t, "testdata/masq.golden.yaml")+"--- {c: d}\n", out)
}
