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
