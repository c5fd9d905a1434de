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
	_, podJSON, _ := readInput(t, "newer-fields")
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

// TestRunReadsLists: `kubectl get pods -o yaml` prints a list.
func TestRunReadsLists(t *testing.T) {
	_, masq, _ := readInput(t, "masq")
	_, out, _ := readInput(t, "opted-out")
	list := `{"apiVersion":"v1","kind":"List","items":[` + string(masq) + `,{"apiVersion":"v1","kind":"Service"},` + string(out) + `]}`

	explained, _ := run(t, list, inject.RunOptions{Explain: true})
	require.Equal(t, file(t, "testdata/masq.decision")+file(t, "testdata/opted-out.decision"), explained)

	injected, _ := run(t, list, inject.RunOptions{Format: inject.FormatJSON})
	var after struct{ Items []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(injected), &after))
	require.Equal(t, canonical(t, masq), canonical(t, after.Items[0]))
	require.Contains(t, string(after.Items[0]), `"hypervisor-exporter"`)
	require.JSONEq(t, string(out), string(after.Items[2]))

	// A client that decodes a PodList and encodes it again leaves the items' kinds out.
	var pod object
	require.NoError(t, json.Unmarshal(masq, &pod))
	delete(pod, "kind")
	delete(pod, "apiVersion")
	explained, _ = run(t, `{"apiVersion":"v1","kind":"PodList","items":[`+marshal(t, pod)+`]}`, inject.RunOptions{Explain: true})
	require.Equal(t, file(t, "testdata/masq.decision"), explained)

	require.ErrorContains(t, inject.Run(testConfig(), strings.NewReader(`{"apiVersion":"v1","kind":"List","items":[`+string(masq)+`,{"apiVersion":"v1","kind":"Pod","spec":1}]}`),
		io.Discard, io.Discard, inject.RunOptions{}), "document 1: item 2: parse pod")
}

// TestExplainFindsNoPod: for input without a virt-launcher pod, one sentence says what it holds and what to give.
func TestExplainFindsNoPod(t *testing.T) {
	const give = "kubectl get pods -n NAMESPACE -l kubevirt.io=virt-launcher -o yaml"
	const vm = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
	for name, test := range map[string]struct{ input, holds string }{
		"nothing":             {"", "is empty"},
		"comments":            {"# a\n---\n# b\n", "is empty"},
		"a VirtualMachine":    {vm, `holds "VirtualMachine"`},
		"a Deployment and VM": {vm + "---\napiVersion: apps/v1\nkind: Deployment\n---\n" + vm, `holds "Deployment", "VirtualMachine"`},
		"a pod of another":    {"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n", "holds another Pod"},
		"an empty list":       {"apiVersion: v1\nkind: List\nitems: []\n", "holds an empty List"},
		"a list of VMs":       {"apiVersion: v1\nkind: List\nitems:\n- kind: VirtualMachine\n", `holds "VirtualMachine"`},
		"no object":           {"- 1\n", "holds something without a kind"},
		"a hostile kind":      {`kind: "x\n\e[31mReady"`, `holds "x\n\x1b[31mReady"`},
		"many":                {"kind: a\n---\nkind: b\n---\nkind: c\n---\nkind: d\n---\nkind: e\n---\nkind: f\n", `holds "a", "b", "c", "d", "e", more`},
	} {
		t.Run(name, func(t *testing.T) {
			err := inject.Run(testConfig(), strings.NewReader(test.input), io.Discard, io.Discard, inject.RunOptions{Explain: true})
			require.ErrorContains(t, err, "the input "+test.holds+": no virt-launcher pod")
			require.ErrorContains(t, err, give)
			require.NotContains(t, err.Error(), "\n")
			require.NoError(t, inject.Run(testConfig(), strings.NewReader(test.input), io.Discard, io.Discard, inject.RunOptions{}), "without --explain it passes through")
		})
	}
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
	_, podJSON, _ := readInput(t, "masq")
	out, _ := run(t, "a: b\n--- "+string(podJSON)+"\n--- {c: d}\n", inject.RunOptions{})
	require.Equal(t, "a: b\n---\n"+file(t, "testdata/masq.golden.yaml")+"--- {c: d}\n", out)
}

const bare = "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    a: "

// TestReadPodTakesBareWordsForStrings: YAML 1.1 reads them as something else than a string, YAML 1.2 does not.
func TestReadPodTakesBareWordsForStrings(t *testing.T) {
	for _, word := range []string{"y", "No", "on", "2026-01-02", "x"} {
		_, pod, err := inject.ReadPod([]byte(bare + word))
		require.NoError(t, err, word)
		require.Equal(t, word, pod.Annotations["a"])
	}
	// A date next to what only YAML 1.2 reads: JSON has none.
	_, pod, err := inject.ReadPod([]byte(bare + "y\n    since: 2026-01-02"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "y", "since": "2026-01-02"}, pod.Annotations)

	for _, other := range []string{"true", "1", "[]"} {
		_, _, err := inject.ReadPod([]byte(bare + other))
		require.ErrorContains(t, err, "parse pod", other)
	}
}

// TestReadPodReadsAsKubectlDoes: kubectl's reading comes first, since the API server would get a boolean.
func TestReadPodReadsAsKubectlDoes(t *testing.T) {
	podJSON, pod, err := inject.ReadPod([]byte("apiVersion: v1\nkind: Pod\nspec: {hostNetwork: yes}"))
	require.NoError(t, err)
	require.True(t, pod.Spec.HostNetwork)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":true}}`, string(podJSON))
}

func TestReadPodOfSomethingElse(t *testing.T) {
	for _, document := range []string{"", "# x", "- kind: Pod", "kind: Pod", "apiVersion: v1\nkind: PodList", "apiVersion: [v1]\nkind: Pod"} {
		_, pod, err := inject.ReadPod([]byte(document))
		require.NoError(t, err, document)
		require.Nil(t, pod, document)
	}
}

func TestReadPodRefusesToLoseADocument(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\n"
	_, _, err := inject.ReadPod([]byte(pod + "...\n" + pod))
	require.ErrorContains(t, err, "put --- between documents")
	_, read, err := inject.ReadPod([]byte(pod + "...\n"))
	require.NoError(t, err)
	require.NotNil(t, read)
}
