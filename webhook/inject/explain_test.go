package inject_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// TestExplainPrintsRequestsAndLimits: Explain prints the resources that the container will have. A pod
// that cannot be Guaranteed need not wait for a throttled sidecar to start, so its CPU limit is high.
func TestExplainPrintsRequestsAndLimits(t *testing.T) {
	for name, test := range map[string]struct {
		input       string
		annotations map[string]string
		want        string
	}{
		"default":             {"masq", nil, "requests cpu 10m, memory 24Mi; limits cpu 500m, memory 24Mi; GOMEMLIMIT 12MiB"},
		"asked for":           {"masq", map[string]string{inject.AnnotationCPU: "20m", inject.AnnotationMemory: "48Mi"}, "requests cpu 20m, memory 48Mi; limits cpu 20m, memory 48Mi; GOMEMLIMIT 24MiB"},
		"too little":          {"masq", map[string]string{inject.AnnotationMemory: "16Mi"}, "requests cpu 10m, memory 24Mi; limits cpu 500m, memory 24Mi; GOMEMLIMIT 12MiB"},
		"with dedicated CPUs": {"dedicated", nil, "requests cpu 10m, memory 24Mi; limits cpu 10m, memory 24Mi; GOMEMLIMIT 12MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, podJSON, pod := readInput(t, ""+test.input)
			for key, value := range test.annotations {
				pod.Annotations[key] = value
			}
			explained := inject.Explain(testConfig(), pod)
			require.Contains(t, explained, "\n  "+test.want+"\n")
			sidecar, _ := sidecarOf(t, testConfig(), podJSON, pod)
			for _, list := range []corev1.ResourceList{sidecar.Resources.Requests, sidecar.Resources.Limits} {
				require.Contains(t, test.want, "cpu "+list.Cpu().String()+", memory "+list.Memory().String())
			}
		})
	}
}

// TestExplainSaysWhatANodeMustHave: it is what the scheduler adds up: the running containers, or an init
// container that needs more than all of them, beside the sidecar, which starts first.
func TestExplainSaysWhatANodeMustHave(t *testing.T) {
	_, _, pod := readInput(t, "dedicated")
	require.Contains(t, inject.Explain(testConfig(), pod), "cpu 1025m and memory 578Mi free for the pod as a whole, 10m and 24Mi of it for the sidecar")

	large := inject.ResourceList{CPU: stated("2"), Memory: stated("2Gi")}
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, inject.Container{Name: "large", Resources: inject.Resources{Requests: &large, Limits: &large}})
	require.Contains(t, inject.Explain(testConfig(), pod), "cpu 2025m and memory 2130Mi free for the pod as a whole, 10m and 24Mi of it for the sidecar")

	_, _, pod = readInput(t, "pod-level-room")
	require.Contains(t, inject.Explain(testConfig(), pod), "the pod as a whole requests no more")
}

func stated(q string) inject.Quantity {
	return inject.Quantity{Quantity: resource.MustParse(q), Stated: true}
}

// TestExplainNamesPullSecretsAndRuntimeClass: they are in the pod and may prevent the image from being
// pulled, or a scrape from arriving.
func TestExplainNamesPullSecretsAndRuntimeClass(t *testing.T) {
	_, _, pod := readInput(t, "masq")
	explained := inject.Explain(testConfig(), pod)
	require.Contains(t, explained, "pull secrets: none, so a registry that requires one refuses it")
	require.NotContains(t, explained, "runtime class")

	kata := "kata\n"
	pod.Spec.RuntimeClassName = &kata
	pod.Spec.ImagePullSecrets = []inject.NamedObject{{Name: "a"}, {Name: "b"}}
	explained = inject.Explain(testConfig(), pod)
	require.Contains(t, explained, `pull secrets: "a", "b"`)
	require.Contains(t, explained, `runtime class "kata\n": if`)
	direct := testConfig()
	direct.Exposure = inject.Direct
	require.NotContains(t, inject.Explain(direct, pod), "runtime class", "a TCP port crosses")
}

// TestExplainShowsTheOptOut: there is a way out for each VM, and what is not checked is named.
func TestExplainShowsTheOptOut(t *testing.T) {
	_, _, pod := readInput(t, "masq")
	explained := inject.Explain(testConfig(), pod)
	require.Contains(t, explained, `annotation hypervisor-exporter.kubevirt.io/inject: "false"`)
	require.Contains(t, explained, "not checked: the namespace's label, LimitRange, ResourceQuota")
	pod.Annotations[inject.AnnotationInject] = "false"
	require.Equal(t, 1, strings.Count(inject.Explain(testConfig(), pod), "\n"), "one line for one that is left alone")
}

func TestConfigValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*inject.Config)
		want   string // part of the error; empty: valid
	}{
		"default":           {func(*inject.Config) {}, ""},
		"digest":            {func(c *inject.Config) { c.Image = "r.example:5000/x@sha256:" + sha }, ""},
		"short image":       {func(c *inject.Config) { c.Image = "exporter" }, ""},
		"no image":          {func(c *inject.Config) { c.Image = "" }, "sidecar image"},
		"image with space":  {func(c *inject.Config) { c.Image = "r.example/x:v1 " }, "sidecar image"},
		"upper-case image":  {func(c *inject.Config) { c.Image = "r.example/X:v1" }, "sidecar image"},
		"no pull policy":    {func(c *inject.Config) { c.ImagePullPolicy = "" }, ""},
		"bad pull policy":   {func(c *inject.Config) { c.ImagePullPolicy = "Sometimes" }, "pull policy"},
		"pull secret":       {func(c *inject.Config) { c.PullSecrets = []string{"reg.cred"} }, ""},
		"bad pull secret":   {func(c *inject.Config) { c.PullSecrets = []string{"a b"} }, "pull secret"},
		"direct":            {func(c *inject.Config) { c.Exposure = inject.Direct }, ""},
		"no such exposure":  {func(c *inject.Config) { c.Exposure = 7 }, `exposure "exposure_7": want unix or direct`},
		"privileged port":   {func(c *inject.Config) { c.Port = 1023 }, "port 1023"},
		"no such port":      {func(c *inject.Config) { c.Port = 65536 }, "port 65536"},
		"migration port":    {func(c *inject.Config) { c.Port = 49152 }, "KubeVirt"},
		"istio port":        {func(c *inject.Config) { c.Port = 15020 }, "Istio"},
		"much cpu":          {func(c *inject.Config) { c.CPU = resource.MustParse("1") }, "cpu 1"},
		"no cpu":            {func(c *inject.Config) { c.CPU = resource.Quantity{} }, "cpu 0"},
		"little memory":     {func(c *inject.Config) { c.Memory = resource.MustParse("8Mi") }, "memory 8Mi"},
		"much memory":       {func(c *inject.Config) { c.Memory = resource.MustParse("1Gi") }, "memory 1Gi"},
		"go memory above":   {func(c *inject.Config) { c.GoMemory = resource.MustParse("25Mi") }, "go memory"},
		"no go memory":      {func(c *inject.Config) { c.GoMemory = resource.Quantity{} }, "go memory"},
		"no GOGC":           {func(c *inject.Config) { c.GOGC = 0 }, "GOGC 0"},
		"zero value (port)": {func(c *inject.Config) { *c = inject.Config{} }, "port 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			test.change(&cfg)
			err := cfg.Validate()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

const sha = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestSidecarVersion(t *testing.T) {
	tests := map[string]struct{ image, version, want string }{
		"tag":            {"r.example:5000/x:v1.2.3", "", "v1.2.3"},
		"tag and digest": {"r.example/x:v1.2.3@sha256:" + sha, "", "v1.2.3"},
		"digest":         {"r.example:5000/x@sha256:" + sha, "", "sha256:" + sha},
		"neither":        {"r.example:5000/x", "", "latest"},
		"stated":         {"r.example/x:v1.2.3", "v9", "v9"},
		"no image":       {"", "", "unknown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, inject.Config{Image: test.image, Version: test.version}.SidecarVersion())
		})
	}
}
