package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestMemoryAnnotation(t *testing.T) {
	tests := map[string]struct {
		memory, goMemory string
		warned           bool
	}{
		"48Mi":            {"48Mi", "24MiB", false},
		"24Mi":            {"24Mi", "12MiB", false},
		"16Mi":            {"24Mi", "12MiB", true},
		"256Mi":           {"256Mi", "128MiB", false},
		"60M":             {"60M", "30000000B", false},
		"33554432":        {"33554432", "16MiB", false},
		"33554432.5":      {"33554433", "16MiB", false},
		"23Mi":            {"24Mi", "12MiB", true},
		"257Mi":           {"256Mi", "128MiB", true},
		"0.5":             {"24Mi", "12MiB", true},
		"0":               {"24Mi", "12MiB", true},
		"":                {"24Mi", "12MiB", true},
		"-32Mi":           {"24Mi", "12MiB", true},
		"32MiB":           {"24Mi", "12MiB", true},
		"32 Mi":           {"24Mi", "12MiB", true},
		"32Mi\n":          {"24Mi", "12MiB", true},
		"3e7":             {"24Mi", "12MiB", true},
		"1e-2147483647":   {"24Mi", "12MiB", true},
		"{{ .Memory }}":   {"24Mi", "12MiB", true},
		"9999999999999Gi": {"24Mi", "12MiB", true},
		"999999999999Gi":  {"256Mi", "128MiB", true},
	}
	for value, test := range tests {
		t.Run(value, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "testdata/masq")
			pod.Annotations[inject.AnnotationMemory] = value
			decision := inject.Decide(testConfig(), pod)
			sidecar := initContainer(patched(t, podJSON, decision.Patch), inject.ContainerName)
			require.Equal(t, test.memory, sidecar.Resources.Limits.Memory().String())
			require.Equal(t, test.memory, sidecar.Resources.Requests.Memory().String())
			require.Equal(t, test.warned, len(decision.Warnings) == 1, decision.Warnings)
			for _, env := range sidecar.Env {
				if env.Name == "GOMEMLIMIT" {
					require.Equal(t, test.goMemory, env.Value)
				}
			}
		})
	}
}

func TestCPUAnnotation(t *testing.T) {
	tests := map[string]struct {
		cpu    string
		warned bool
	}{
		"1m":     {"1m", false},
		"500m":   {"500m", false},
		"0.25":   {"250m", false},
		"0.0105": {"11m", false}, // rounded up, as the scheduler does
		"501m":   {"500m", true},
		"1":      {"500m", true}, // whole CPUs would be taken from the VM
		"0.5m":   {"1m", true},
		"100u":   {"10m", true},
		"0m":     {"10m", true},
	}
	for value, test := range tests {
		t.Run(value, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "testdata/dedicated")
			pod.Annotations[inject.AnnotationCPU] = value
			decision := inject.Decide(testConfig(), pod)
			sidecar := initContainer(patched(t, podJSON, decision.Patch), inject.ContainerName)
			require.Equal(t, test.cpu, sidecar.Resources.Limits.Cpu().String())
			require.Equal(t, test.warned, len(decision.Warnings) == 1, decision.Warnings)
		})
	}
}

func TestGoMemoryKeepsTheConfiguredShare(t *testing.T) {
	cfg := testConfig()
	cfg.Memory, cfg.GoMemory = resource.MustParse("32Mi"), resource.MustParse("8Mi")
	require.NoError(t, cfg.Validate())
	_, podJSON, pod := readInput(t, "testdata/masq")
	pod.Annotations[inject.AnnotationMemory] = "64Mi"
	sidecar := initContainer(patched(t, podJSON, inject.Decide(cfg, pod).Patch), inject.ContainerName)
	require.Contains(t, marshal(t, sidecar.Env), `{"name":"GOMEMLIMIT","value":"16MiB"}`)
}

// A pod that cannot be Guaranteed need not wait for a throttled sidecar to start.
func TestCPULimit(t *testing.T) {
	tests := map[string]struct {
		input, annotation, limit string
	}{
		"a VM without a limit":        {"testdata/masq", "", "500m"},
		"asked for":                   {"testdata/masq", "20m", "20m"},
		"dedicated CPUs (Guaranteed)": {"testdata/dedicated", "", "10m"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, podJSON, pod := readInput(t, test.input)
			if test.annotation != "" {
				pod.Annotations[inject.AnnotationCPU] = test.annotation
			}
			sidecar := initContainer(patched(t, podJSON, inject.Decide(testConfig(), pod).Patch), inject.ContainerName)
			require.Equal(t, test.limit, sidecar.Resources.Limits.Cpu().String())
		})
	}
}
