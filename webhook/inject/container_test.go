package inject_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func goMemLimit(c *corev1.Container) string {
	for _, env := range c.Env {
		if env.Name == "GOMEMLIMIT" {
			return env.Value
		}
	}
	return ""
}

func TestMemoryAnnotation(t *testing.T) {
	type want struct {
		memory, goMemory string
		warned           bool
	}
	ignored, least, most := want{"24Mi", "12MiB", true}, want{"24Mi", "12MiB", true}, want{"256Mi", "128MiB", true}
	for value, want := range map[string]want{
		"48Mi": {"48Mi", "24MiB", false}, "24Mi": {"24Mi", "12MiB", false}, "256Mi": {"256Mi", "128MiB", false},
		"60M": {"60M", "30000000B", false}, "33554432": {"33554432", "16MiB", false}, "33554432.5": {"33554433", "16MiB", false},
		"16Mi": least, "23Mi": least, "0.5": least, "257Mi": most, "999999999999Gi": most,
		"0": ignored, "": ignored, "-32Mi": ignored, "32MiB": ignored, "32 Mi": ignored, "32Mi\n": ignored, "3e7": ignored,
		"1e-2147483647": ignored, "{{ .Memory }}": ignored, "9999999999999Gi": ignored,
	} {
		t.Run(value, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "masq")
			pod.Annotations[inject.AnnotationMemory] = value
			sidecar, decision := sidecarOf(t, testConfig(), podJSON, pod)
			require.Equal(t, want.memory, sidecar.Resources.Limits.Memory().String())
			require.Equal(t, want.goMemory, goMemLimit(sidecar))
			require.Equal(t, want.warned, len(decision.Warnings) == 1, decision.Warnings)
		})
	}
	t.Run("GOMEMLIMIT keeps its share", func(t *testing.T) {
		cfg := testConfig()
		cfg.Memory, cfg.GoMemory = resource.MustParse("32Mi"), resource.MustParse("8Mi")
		require.NoError(t, cfg.Validate())
		_, podJSON, pod := readInput(t, "masq")
		pod.Annotations[inject.AnnotationMemory] = "64Mi"
		sidecar, _ := sidecarOf(t, cfg, podJSON, pod)
		require.Equal(t, "16MiB", goMemLimit(sidecar))
	})
}

func TestCPUAnnotation(t *testing.T) {
	for value, test := range map[string]struct {
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
	} {
		t.Run(value, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "dedicated")
			pod.Annotations[inject.AnnotationCPU] = value
			sidecar, decision := sidecarOf(t, testConfig(), podJSON, pod)
			require.Equal(t, test.cpu, sidecar.Resources.Limits.Cpu().String())
			require.Equal(t, test.warned, len(decision.Warnings) == 1, decision.Warnings)
		})
	}
}

// TestDirectListensOnThePodsAddress: the brackets around $(POD_IP) fit both families.
func TestDirectListensOnThePodsAddress(t *testing.T) {
	cfg := testConfig()
	cfg.Exposure = inject.Direct
	_, podJSON, pod := readInput(t, "masq")
	sidecar, _ := sidecarOf(t, cfg, podJSON, pod)
	_, listen, _ := strings.Cut(sidecar.Args[0], "=")
	for _, address := range []string{"10.244.0.7", "fd00:10:244::7"} {
		host, port, err := net.SplitHostPort(strings.ReplaceAll(listen, "$(POD_IP)", address))
		require.NoError(t, err)
		require.Equal(t, []string{address, "9477"}, []string{host, port})
	}
}

// TestAutoscalersListIsKeptComplete: a list of volumes that the autoscaler may lose gets ours; a pod
// without a list gets none.
func TestAutoscalersListIsKeptComplete(t *testing.T) {
	long := strings.Repeat("x", 4<<10)
	for list, want := range map[string]string{"": "", "a,b": "a,b,hypervisor-exporter", "hypervisor-exporter": "hypervisor-exporter",
		"x-hypervisor-exporter": "x-hypervisor-exporter,hypervisor-exporter", long: long + ",hypervisor-exporter", long + "x": long + "x"} {
		_, podJSON, pod := readInput(t, "masq")
		if list != "" {
			pod.Annotations[safeVolumes] = list
		}
		_, decision := sidecarOf(t, testConfig(), podJSON, pod)
		if after := patched(t, podJSON, decision.Patch).Annotations[safeVolumes]; after != "" || list != want {
			require.Equal(t, want, after)
		}
	}
}

// TestAppArmorIsComputes: the sidecar has compute's AppArmor profile, as the API server reads it: the
// field before the annotation from before Kubernetes 1.30, and none if compute has none of its own.
func TestAppArmorIsComputes(t *testing.T) {
	local := func(name string) *corev1.AppArmorProfile {
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	unconfined := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	runtimeDefault := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	longest := strings.Repeat("x", 4095)
	for name, test := range map[string]struct {
		field      *corev1.AppArmorProfile
		annotation string
		want       *corev1.AppArmorProfile
	}{
		"none":                       {nil, "", nil},
		"field":                      {local("vm"), "", local("vm")},
		"field before annotation":    {runtimeDefault, "unconfined", runtimeDefault},
		"annotation unconfined":      {nil, "unconfined", unconfined},
		"annotation runtime default": {nil, "runtime/default", runtimeDefault},
		"annotation localhost":       {nil, "localhost/vm/a", local("vm/a")},
		"annotation without a name":  {nil, "localhost/", nil},
		"annotation padded":          {nil, "localhost/ vm", nil},
		"annotation longest":         {nil, "localhost/" + longest, local(longest)},
		"annotation too long":        {nil, "localhost/" + longest + "x", nil},
		"annotation nonsense":        {nil, "docker-default", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "masq")
			if test.annotation != "" {
				pod.Annotations["container.apparmor.security.beta.kubernetes.io/compute"] = test.annotation
			}
			for i := range pod.Spec.Containers {
				if c := &pod.Spec.Containers[i]; c.Name == "compute" {
					c.SecurityContext.AppArmorProfile = test.field
				}
			}
			sidecar, _ := sidecarOf(t, testConfig(), podJSON, pod)
			require.Equal(t, test.want, sidecar.SecurityContext.AppArmorProfile)
		})
	}
}

func TestApply(t *testing.T) {
	const pod = `{"z":1.50,"a":12345678901234567890,"metadata":{"annotations":{"b":"<&>","a":""}},"spec":{"new":[3,1,2]}}`
	got, err := inject.Apply([]byte(pod), []inject.Operation{{Op: "add", Path: "/metadata/annotations/x~1y~0z", Value: "v"}})
	require.NoError(t, err)
	require.Equal(t, strings.Replace(pod, `"a":""}`, `"a":"","x/y~z":"v"}`, 1), string(got), "all else is kept as it was")

	for _, broken := range []string{`{"spec":{}}`, `{`} {
		_, err = inject.Apply([]byte(broken), []inject.Operation{{Op: "add", Path: "/spec/initContainers/0", Value: 1}})
		require.ErrorContains(t, err, "apply patch to pod")
	}
	_, err = inject.Apply([]byte(`{}`), []inject.Operation{{Op: "add", Path: "/x", Value: func() {}}})
	require.ErrorContains(t, err, "encode patch")
}
