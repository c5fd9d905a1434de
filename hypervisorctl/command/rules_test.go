package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without settings, the objects are those of the manifests.
func TestRulesAreThoseOfTheManifests(t *testing.T) {
	var want string
	for _, path := range []string{"../../manifests/monitoring/prometheusrule.yaml", "../../manifests/relay/monitoring/prometheusrule.yaml"} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		_, objects, found := strings.Cut(string(content), "\n") // the first line says how the file is made
		require.True(t, found)
		want += objects
	}
	got := call(t, "rules")
	require.Zero(t, got.code, got.err)
	require.Equal(t, want, got.out)
}

// The alerts for clusters without the exporter are those of their manifest, and have settings, too.
func TestRulesWithoutExporter(t *testing.T) {
	content, err := os.ReadFile("../../manifests/without-exporter/prometheusrule.yaml")
	require.NoError(t, err)
	_, want, _ := strings.Cut(string(content), "\n")
	got := call(t, "rules", "--without-exporter")
	require.Zero(t, got.code, got.err)
	require.Equal(t, want, got.out)

	got = callWith(t, "alerts: {NodeWithoutKVMDevice: {severity: page}, KubeVirtSoftwareEmulationEnabled: {disabled: true}}",
		"rules", "--without-exporter", "--settings=-", "-o", "rules-file")
	require.Zero(t, got.code, got.err)
	require.Equal(t, 1, strings.Count(got.out, "severity: page\n"))
	require.NotContains(t, got.out, "KubeVirtSoftwareEmulationEnabled")
}

// A namespace's rules are those about VMs: none of them takes series that are missing there for a fault.
func TestRulesOfANamespace(t *testing.T) {
	got := call(t, "rules", "-n", "shop")
	require.Zero(t, got.code, got.err)
	require.Equal(t, 1, strings.Count(got.out, "kind: PrometheusRule\n"))
	require.Contains(t, got.out, "\n  namespace: shop\n")
	require.Contains(t, got.out, "alert: VirtualMachineOnSoftwareEmulation\n")
	require.NotRegexp(t, `absent(_over_time)?\(`, got.out)
}

func TestRulesWithSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.yaml")
	require.NoError(t, os.WriteFile(path, []byte("alerts:\n  HypervisorExporterRelayDown: {severity: page}\n"), 0o600))
	got := call(t, "rules", "--settings", path, "--relay-namespace=relays")
	require.Zero(t, got.code, got.err)
	require.Equal(t, 1, strings.Count(got.out, "severity: page\n"))
	require.Equal(t, 1, strings.Count(got.out, "namespace: relays\n"))
	require.Equal(t, 3, strings.Count(got.out, "namespace: hypervisor-exporter\n"))

	got = call(t, "rules", "-o", "rules-file", "--settings", path)
	require.Zero(t, got.code, got.err)
	require.True(t, strings.HasPrefix(got.out, "groups:\n"), got.out)
	require.Equal(t, 1, strings.Count(got.out, "severity: page\n"))
}

func TestRulesRefuse(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for args, want := range map[string]string{
		"-o json":               "--output=json: must be prometheusrule or rules-file",
		"--settings=" + missing: "no such file",
		"extra":                 "unknown command",
	} {
		got := call(t, append([]string{"rules"}, strings.Fields(args)...)...)
		require.Equal(t, 1, got.code, args)
		require.Empty(t, got.out, args)
		require.Contains(t, got.err, want, args)
	}
}

func TestRulesReadStandardInput(t *testing.T) {
	for settings, want := range map[string]string{
		"alerts: {NoSuchAlert: {disabled: true}}": `error: --settings=-: alerts: there is no alert "NoSuchAlert"` + "\n",
		"labels: {team: virt}":                    "",
	} {
		got := callWith(t, settings, "rules", "--settings=-")
		require.Equal(t, want, got.err)
		require.Equal(t, want == "", strings.Contains(got.out, "team: virt\n"), settings)
	}
}
