package command

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// answer is what a command line printed and how it ended.
type answer struct {
	out, err string
	code     int
}

// call runs a command line without a kubeconfig, unless it names one.
func call(t *testing.T, args ...string) answer {
	t.Helper()
	return callWith(t, "", args...)
}

// callWith runs a command line with that on its standard input.
func callWith(t *testing.T, in string, args ...string) answer {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: bytes.NewBufferString(in), Out: &out, ErrOut: &errOut}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	code := Run(ctx, streams, append([]string{"hypervisorctl", "--kubeconfig=/dev/null"}, args...))
	return answer{out.String(), errOut.String(), code}
}

func TestVersion(t *testing.T) {
	got := call(t, "version")
	require.Zero(t, got.code)
	require.Regexp(t, `^hypervisorctl \S.*\n\(go=`, got.out)
}

func TestWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-o nonsense":                "must be one of table, wide, custom-columns=…, json, yaml,",
		"-o jsonpath":                "no template given",
		"-o jsonpath={.items":        "unclosed action",
		"-o wide --template={{.}}":   "--output=wide: must be one of",
		"-o custom-columns=name":     "must be HEADER:FIELD",
		"-o custom-columns=A:.nmae":  `".nmae" is not a field of a VM: must be one of architecture, controlSeconds, controlState,`,
		"--sort-by=.metadata.name":   `--sort-by: ".metadata.name" is not a field of a VM`,
		"web -A":                     "names of VMIs do not go with --all-namespaces",
		"web -l team=blue":           "names of VMIs do not go with",
		"-w --sort-by=.type":         "--sort-by does not go with --watch",
		"pod/web":                    "pod/web: must be the name of a VMI, such as web or vmi/web",
		"vmi/":                       `"vmi/" has no name of a VMI`,
		"--source=nonsense":          "must be one of auto, prometheus, relay, exec, none",
		"--source=prometheus":        "--prometheus-url",
		"--chunk-size=0":             "must be 1 or more",
		"--prometheus-url=:nonsense": "--prometheus-url :nonsense",
	} {
		got := call(t, append([]string{"list"}, strings.Fields(args)...)...)
		require.Equal(t, 1, got.code, "%s: %s", args, got.err)
		require.Contains(t, got.err, want, args)
	}
}

// In a script, check's 1 is a result.
func TestUsageErrorOfCheck(t *testing.T) {
	for _, args := range []string{"-o nonsense", "-o jsonpath={.lines}", "--nonsense", "web", "--source=nonsense", "--chunk-size=x"} {
		got := call(t, append([]string{"check"}, strings.Fields(args)...)...)
		require.Equal(t, 2, got.code, "%s: %s", args, got.err)
		require.Empty(t, got.out, args)
		require.Regexp(t, "^error: .*\n$", got.err, args)
	}
}

func TestWithoutACluster(t *testing.T) {
	address := "--server=http://" + testkit.FreeAddress(t)
	for _, command := range [][]string{{"list"}, {"explain", "web"}, {"check"}} {
		got := call(t, append(command, address)...)
		require.Contains(t, got.out+got.err, "connection refused", command)
		require.NotContains(t, got.err, "note:", command)
		if command[0] == "check" {
			require.Equal(t, 2, got.code)
			require.Contains(t, got.out, "0 ok, 0 warn, 1 fail")
		} else {
			require.Equal(t, 1, got.code)
		}
	}
	got := call(t, "check", "--kubeconfig=/nonexistent")
	require.Equal(t, 2, got.code)
	require.Contains(t, got.err, "error:")
}

func TestHangingAPIServer(t *testing.T) {
	end := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); web.Close() })
	for _, command := range [][]string{{"list"}, {"explain", "web"}, {"check"}} {
		got := call(t, append(command, "--server="+web.URL, "--request-timeout=300ms")...)
		require.NotZero(t, got.code)
		require.Regexp(t, "(?i)timeout|deadline", got.out+got.err, command)
	}
}

// What docs/hypervisorctl.md shows is the golden output of the tests.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	docs, err := os.ReadFile("../../docs/hypervisorctl.md")
	require.NoError(t, err)
	for _, name := range []string{"list-table", "list-problems", "check-troubles", "explain-failed", "explain-emulated"} {
		printed, err := os.ReadFile("../clustertest/testdata/golden/" + name + ".txt")
		require.NoError(t, err)
		require.Contains(t, string(docs), strings.TrimSpace(string(printed)), name)
	}
}
