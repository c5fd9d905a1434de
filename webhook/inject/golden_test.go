package inject_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	psapi "k8s.io/pod-security-admission/api"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

var update = flag.Bool("update", false, "write the golden files again")

func testConfig() inject.Config {
	return inject.Default("registry.example/hypervisor-exporter:v1.2.3")
}

// inputs are the pods of testdata, genuine ones from KubeVirt and pods derived from these; the
// comment at the top of each derived one says what differs.
func inputs(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	var names []string
	for _, path := range all {
		if !strings.HasSuffix(path, ".golden.yaml") {
			names = append(names, strings.TrimSuffix(filepath.Base(path), ".yaml"))
		}
	}
	require.NotEmpty(t, names)
	return names
}

// read caches the documents of testdata and their JSON: YAML takes long with the race detector.
var read sync.Map

func readInput(t require.TestingT, name string) (document, podJSON []byte, pod *inject.Pod) {
	cached, found := read.Load(name)
	if !found {
		document, err := os.ReadFile("testdata/" + name + ".yaml")
		require.NoError(t, err)
		podJSON, pod, err := inject.ReadPod(document)
		require.NoError(t, err)
		require.NotNil(t, pod, "%s.yaml holds no pod", name)
		cached, _ = read.LoadOrStore(name, [2][]byte{document, podJSON})
	}
	both := cached.([2][]byte)
	pod, err := inject.ParsePod(both[1])
	require.NoError(t, err)
	return bytes.Clone(both[0]), bytes.Clone(both[1]), pod
}

// sidecarOf decides about the pod, which must be injected, and returns the sidecar and the decision.
func sidecarOf(t require.TestingT, cfg inject.Config, podJSON []byte, pod *inject.Pod) (*corev1.Container, inject.Decision) {
	decision := inject.Decide(cfg, pod)
	require.True(t, decision.Injected(), decision.Reason)
	return initContainer(patched(t, podJSON, decision.Patch), inject.ContainerName), decision
}

// TestGolden: each input has a .decision (what --explain prints) and, if it is injected, a
// .golden.yaml (what the command prints). A pod that is left as it is has none: it must come out
// byte for byte. The inputs that differ most with exposure Direct have goldens of their own.
func TestGolden(t *testing.T) {
	direct := testConfig()
	direct.Exposure = inject.Direct
	for folder, c := range map[string]struct {
		cfg    inject.Config
		inputs []string
	}{
		"testdata/": {testConfig(), inputs(t)},
		"testdata/direct/": {direct, []string{"masq", "service-account", "masq-ports", "bridge", "istio-native", "migration-target",
			"port-taken", "port-guest", "port-name-taken", "port-udp", "volume-taken"}},
	} {
		for _, name := range c.inputs {
			t.Run(folder+name, func(t *testing.T) {
				t.Parallel()
				document, podJSON, pod := readInput(t, name)
				var out, warnings, explained bytes.Buffer
				require.NoError(t, inject.Run(c.cfg, bytes.NewReader(document), &out, &warnings, inject.RunOptions{}))
				err := inject.Run(c.cfg, bytes.NewReader(document), &explained, &warnings, inject.RunOptions{Explain: true})
				if pod.Labels["kubevirt.io"] == "virt-launcher" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "no virt-launcher pod")
				}
				golden(t, folder+name+".decision", explained.Bytes())
				if checkDecision(t, c.cfg, podJSON, pod).Injected() {
					golden(t, folder+name+".golden.yaml", out.Bytes())
				} else {
					require.Equal(t, string(document), out.String())
					require.NoFileExists(t, folder+name+".golden.yaml", "stale: the pod is not injected")
				}
				if name != "newer-fields" {
					require.Empty(t, strictErrors(t, podJSON), "not a pod of the API we know")
				}
			})
		}
		for _, suffix := range []string{".golden.yaml", ".decision"} {
			paths, err := filepath.Glob(folder + "*" + suffix)
			require.NoError(t, err)
			require.NotEmpty(t, paths)
			for _, path := range paths {
				require.Contains(t, c.inputs, strings.TrimSuffix(filepath.Base(path), suffix), "%s belongs to no input", path)
			}
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "no golden file; write it with: go test ./webhook/inject -update")
	require.Equal(t, string(want), string(got), "stale golden; read the difference, then: go test ./webhook/inject -update")
}

// TestInputsReachEverything: the inputs show every reason, QoS class and Pod Security level;
// otherwise checkDecision would prove less than it seems to. NoPullSecret needs a configuration
// (TestPullSecrets), PortTaken exposure Direct (TestGolden), AnnotationsFull 256 KiB
// (TestFullAnnotations), and RefusedBefore the pods before it (package refusals).
func TestInputsReachEverything(t *testing.T) {
	reasons := map[inject.Reason]bool{inject.NoPullSecret: true, inject.PortTaken: true, inject.AnnotationsFull: true, inject.RefusedBefore: true}
	classes, levels := map[corev1.PodQOSClass]bool{}, map[psapi.Level]bool{}
	for _, name := range inputs(t) {
		_, podJSON, pod := readInput(t, name)
		reason := inject.Decide(testConfig(), pod).Reason
		reasons[reason] = true
		if reason == inject.Injected {
			core := decoded(t, podJSON)
			classes[computePodQOS(core)] = true
			for _, level := range podSecurityLevels {
				levels[level] = levels[level] || passes(t, level, core).Allowed
			}
		}
	}
	for _, reason := range inject.Reasons() {
		require.True(t, reasons[reason], "no input is %s", reason)
	}
	require.Equal(t, map[corev1.PodQOSClass]bool{corev1.PodQOSGuaranteed: true, corev1.PodQOSBurstable: true}, classes,
		"a BestEffort pod would become Burstable")
	require.Equal(t, map[psapi.Level]bool{psapi.LevelBaseline: true, psapi.LevelRestricted: true}, levels)
}
