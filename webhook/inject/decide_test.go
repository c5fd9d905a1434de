package inject_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestPullSecrets(t *testing.T) {
	has := func(names ...string) []corev1.LocalObjectReference {
		var refs []corev1.LocalObjectReference
		for _, name := range names {
			refs = append(refs, corev1.LocalObjectReference{Name: name})
		}
		return refs
	}
	tests := map[string]struct {
		needs []string
		has   []corev1.LocalObjectReference
		want  inject.Reason
	}{
		"none needed":          {nil, nil, inject.Injected},
		"needed and there":     {[]string{"regcred"}, has("other", "regcred"), inject.Injected},
		"one of two there":     {[]string{"blue", "green"}, has("green"), inject.Injected},
		"needed and not there": {[]string{"regcred"}, has("other"), inject.NoPullSecret},
		"pod has none at all":  {[]string{"regcred"}, nil, inject.NoPullSecret},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "testdata/masq")
			pod.Spec.ImagePullSecrets = test.has
			cfg := testConfig()
			cfg.PullSecrets = test.needs
			decision := inject.Decide(cfg, pod)
			require.Equal(t, test.want, decision.Reason)
			require.Equal(t, !decision.Injected(), len(decision.Warnings) == 1)
			if decision.Injected() {
				require.Empty(t, patched(t, podJSON, decision.Patch).Spec.ImagePullSecrets, "a secret was added")
			}
		})
	}
}

func TestStatusIsLeftOutWhereAnnotationsAreFull(t *testing.T) {
	const limit = 256 << 10 // apimachinery TotalAnnotationSizeLimitB
	for _, test := range []struct {
		name   string
		spare  int
		status bool
	}{{"just fits", 0, true}, {"one byte too many", -1, false}} {
		t.Run(test.name, func(t *testing.T) {
			_, _, pod := readInput(t, "testdata/masq")
			fill := limit - len(inject.AnnotationStatus) - len("v1.2.3") - len("fill") - test.spare
			for key, value := range pod.Annotations {
				fill -= len(key) + len(value)
			}
			pod.Annotations["fill"] = strings.Repeat("x", fill)

			decision := inject.Decide(testConfig(), pod)
			require.True(t, decision.Injected())
			if test.status {
				require.Len(t, decision.Patch, 3)
				require.Empty(t, decision.Warnings)
				return
			}
			require.Len(t, decision.Patch, 2)
			require.Len(t, decision.Warnings, 1)
		})
	}
}

// The pod is what the API server sent before validating it. Without the guard
// the first value hangs the test and the second makes it panic.
func TestQuantitiesThatHangAreNotAddedUp(t *testing.T) {
	for _, value := range []string{"1e500000000", "1e2147483647"} {
		_, _, pod := readInput(t, "testdata/pod-level-room")
		pod.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse(value)
		require.Equal(t, inject.PodLevelResources, inject.Decide(testConfig(), pod).Reason)
		pod.Spec.Resources = nil
		require.Equal(t, inject.Injected, inject.Decide(testConfig(), pod).Reason, "nothing is added up without pod-level resources")
	}
	_, _, pod := readInput(t, "testdata/pod-level-room")
	pod.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("4e8")
	require.Equal(t, inject.Injected, inject.Decide(testConfig(), pod).Reason)
}

// Decide is called by every request of the webhook at once. Under -race this
// fails if it writes to the pod or the configuration.
func TestDecideMayBeCalledAtOnce(t *testing.T) {
	_, _, pod := readInput(t, "testdata/pod-level-room")
	cfg := testConfig()
	want := marshal(t, inject.Decide(cfg, pod))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if got := marshal(t, inject.Decide(cfg, pod)); got != want {
				t.Errorf("want %s, got %s", want, got)
			}
		})
	}
	wait.Wait()
}

func TestDecideLeavesThePodAlone(t *testing.T) {
	for _, name := range inputs(t) {
		_, _, pod := readInput(t, name)
		before := pod.DeepCopy()
		inject.Decide(testConfig(), pod)
		require.Equal(t, before, pod)
	}
}

func BenchmarkDecide(b *testing.B) {
	_, _, pod := readInput(b, "testdata/migration-target")
	cfg := testConfig()
	b.ReportAllocs()
	for b.Loop() {
		inject.Decide(cfg, pod)
	}
}
