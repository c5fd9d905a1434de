package inject_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestPullSecrets(t *testing.T) {
	has := func(names ...string) []inject.NamedObject {
		var refs []inject.NamedObject
		for _, name := range names {
			refs = append(refs, inject.NamedObject{Name: name})
		}
		return refs
	}
	tests := map[string]struct {
		needs []string
		has   []inject.NamedObject
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

// The VM's name comes first: without room for it the pod is left as it is.
func TestFullAnnotations(t *testing.T) {
	const limit = 256 << 10 // apimachinery TotalAnnotationSizeLimitB
	const status = len(inject.AnnotationStatus) + len("v1.2.3")
	for _, test := range []struct {
		name       string
		spare      int // bytes that the name leaves of the limit
		reason     inject.Reason
		operations int
	}{
		{"all fits", status, inject.Injected, 4},
		{"one byte too many for the status", status - 1, inject.Injected, 3},
		{"the name just fits", 0, inject.Injected, 3},
		{"one byte too many for the name", -1, inject.AnnotationsFull, 0},
	} {
		for _, standing := range []string{"", "the owner's"} {
			t.Run(test.name+", annotation "+standing, func(t *testing.T) {
				_, _, pod := readInput(t, "testdata/masq")
				fill := limit - len(contract.AnnotationVMI) - len("masq") - len("fill") - test.spare
				for key, value := range pod.Annotations {
					fill -= len(key) + len(value)
				}
				pod.Annotations["fill"] = strings.Repeat("x", fill)
				if standing != "" {
					pod.Annotations[contract.AnnotationVMI] = standing // replaced, so it takes no room
				}
				decision := inject.Decide(testConfig(), pod)
				require.Equal(t, test.reason, decision.Reason)
				require.Len(t, decision.Patch, test.operations)
				require.Equal(t, test.operations != 4, len(decision.Warnings) == 1)
			})
		}
	}
}

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
		before := marshal(t, pod)
		inject.Decide(testConfig(), pod)
		require.Equal(t, before, marshal(t, pod))
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
