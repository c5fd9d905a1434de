package inject_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testConfig() inject.Config {
	return inject.Default("registry.example/hypervisor-exporter:v1.2.3")
}

// inputs are the pods of testdata, genuine ones from KubeVirt and pods derived
// from these; the comment at the top of each derived one says what differs.
func inputs(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	var names []string
	for _, path := range all {
		if !strings.HasSuffix(path, ".golden.yaml") {
			names = append(names, strings.TrimSuffix(path, ".yaml"))
		}
	}
	require.NotEmpty(t, names)
	return names
}

func readInput(t testing.TB, name string) (document, podJSON []byte, pod *inject.Pod) {
	t.Helper()
	document, err := os.ReadFile(name + ".yaml")
	require.NoError(t, err)
	podJSON, pod, err = inject.ReadPod(document)
	require.NoError(t, err)
	require.NotNil(t, pod, "%s.yaml holds no pod", name)
	return document, podJSON, pod
}

// Each input has a .decision (what --explain says) and, where it is injected, a
// .golden.yaml (what the command prints). A pod that is left as it is has no
// golden: it must come out byte for byte.
func TestGolden(t *testing.T) {
	for _, name := range inputs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			document, _, pod := readInput(t, name)
			var out, warnings, explained bytes.Buffer
			require.NoError(t, inject.Run(testConfig(), bytes.NewReader(document), &out, &warnings, inject.RunOptions{}))
			err := inject.Run(testConfig(), bytes.NewReader(document), &explained, &warnings, inject.RunOptions{Explain: true})
			if pod.Labels["kubevirt.io"] == "virt-launcher" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "no virt-launcher pod")
			}

			golden(t, name+".decision", explained.Bytes())
			if inject.Decide(testConfig(), pod).Injected() {
				golden(t, name+".golden.yaml", out.Bytes())
				return
			}
			require.Equal(t, string(document), out.String())
			require.NoFileExists(t, name+".golden.yaml", "stale: the pod is not injected")
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "no golden file; write it with: go test ./webhook/inject -update")
	require.Equal(t, string(want), string(got), "stale golden; look at the difference, then: go test ./webhook/inject -update")
}

func TestEveryGoldenHasAnInput(t *testing.T) {
	for _, suffix := range []string{".golden.yaml", ".decision"} {
		paths, err := filepath.Glob("testdata/*" + suffix)
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			require.FileExists(t, strings.TrimSuffix(path, suffix)+".yaml", "%s belongs to no input", path)
		}
	}
}

// The inputs that differ most with exposure Direct: their goldens lie in a folder
// of their own.
func TestGoldenDirect(t *testing.T) {
	cfg := testConfig()
	cfg.Exposure = inject.Direct
	names := []string{"masq", "service-account", "masq-ports", "bridge", "istio-native", "migration-target", "port-taken", "port-guest", "port-name-taken", "port-udp", "volume-taken"}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			document, podJSON, pod := readInput(t, "testdata/"+name)
			var out, warnings, explained bytes.Buffer
			require.NoError(t, inject.Run(cfg, bytes.NewReader(document), &out, &warnings, inject.RunOptions{}))
			require.NoError(t, inject.Run(cfg, bytes.NewReader(document), &explained, &warnings, inject.RunOptions{Explain: true}))
			golden(t, "testdata/direct/"+name+".decision", explained.Bytes())
			if checkDecision(t, cfg, podJSON, pod).Injected() {
				golden(t, "testdata/direct/"+name+".golden.yaml", out.Bytes())
			}
		})
	}
	files, err := filepath.Glob("testdata/direct/*")
	require.NoError(t, err)
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		require.Contains(t, names, name, "%s belongs to no input", file)
	}
}

// Every reason that a pod can give is shown by an input. NoPullSecret needs a
// configuration, see TestPullSecrets; PortTaken needs exposure Direct, see
// TestGoldenDirect; AnnotationsFull needs 256 KiB, see TestFullAnnotations;
// RefusedBefore needs the pods before it, see package refusals.
func TestInputsShowEveryReason(t *testing.T) {
	shown := map[inject.Reason]bool{inject.NoPullSecret: true, inject.PortTaken: true, inject.AnnotationsFull: true, inject.RefusedBefore: true}
	for _, name := range inputs(t) {
		_, _, pod := readInput(t, name)
		shown[inject.Decide(testConfig(), pod).Reason] = true
	}
	for _, reason := range inject.Reasons() {
		require.True(t, shown[reason], "no input is %s", reason)
	}
}

func TestInputsKeepTheirInvariants(t *testing.T) {
	for _, name := range inputs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, podJSON, pod := readInput(t, name)
			checkDecision(t, testConfig(), podJSON, pod)
		})
	}
}

// The scheduler sees the same pod as before, and the sidecar's request.
func TestOnlyTheSidecarIsRequested(t *testing.T) {
	for _, name := range inputs(t) {
		_, podJSON, pod := readInput(t, name)
		before := decoded(t, podJSON)
		decision := inject.Decide(testConfig(), pod)
		if !decision.Injected() {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			after := patched(t, podJSON, decision.Patch)
			sidecar := initContainer(after, inject.ContainerName)
			require.Equal(t, sidecar.Resources.Limits.Memory(), sidecar.Resources.Requests.Memory())
			require.GreaterOrEqual(t, sidecar.Resources.Limits.Cpu().MilliValue(), sidecar.Resources.Requests.Cpu().MilliValue())
			require.Len(t, sidecar.Resources.Limits, 2)
			require.Len(t, sidecar.Resources.Requests, 2, "cpu and memory alone")

			want := resourcehelper.AggregateContainerRequests(before, resourcehelper.PodResourcesOptions{})
			for resource, own := range sidecar.Resources.Requests {
				sum := want[resource]
				sum.Add(own)
				want[resource] = sum
			}
			got := resourcehelper.AggregateContainerRequests(after, resourcehelper.PodResourcesOptions{})
			require.Len(t, got, len(want))
			for resource, quantity := range want {
				require.Zero(t, quantity.Cmp(got[resource]), "%s: want %s, got %v", resource, quantity.String(), got[resource])
			}
		})
	}
}

// What comes out is a pod of the API we know, but for the input whose fields
// are of a Kubernetes to come.
func TestGoldensDecodeStrictly(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.golden.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		document, err := os.ReadFile(path)
		require.NoError(t, err)
		err = yaml.UnmarshalStrict(document, &corev1.Pod{})
		if strings.HasPrefix(filepath.Base(path), "newer-fields.") {
			require.ErrorContains(t, err, "OfTomorrow")
			continue
		}
		require.NoError(t, err, path)
	}
}
