package inject_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"pgregory.net/rapid"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestReasons(t *testing.T) {
	texts := map[string]bool{}
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, r := range inject.Reasons() {
		require.Regexp(t, snake, r.String())
		for _, text := range []string{r.String(), r.Sentence()} {
			require.NotEmpty(t, text)
			require.False(t, texts[text], "two reasons have %q", text)
			texts[text] = true
		}
	}
	require.Equal(t, "reason_99", inject.Reason(99).String())
	require.Equal(t, "reason_-1", inject.Reason(-1).String())
}

func TestPullSecrets(t *testing.T) {
	for name, test := range map[string]struct {
		needs, has []string
		want       inject.Reason
	}{
		"none needed":          {nil, nil, inject.Injected},
		"needed and there":     {[]string{"regcred"}, []string{"other", "regcred"}, inject.Injected},
		"one of two there":     {[]string{"blue", "green"}, []string{"green"}, inject.Injected},
		"needed and not there": {[]string{"regcred"}, []string{"other"}, inject.NoPullSecret},
		"pod has none at all":  {[]string{"regcred"}, nil, inject.NoPullSecret},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, pod := readInput(t, "masq")
			for _, secret := range test.has {
				pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, inject.NamedObject{Name: secret})
			}
			cfg := testConfig()
			cfg.PullSecrets = test.needs
			decision := inject.Decide(cfg, pod)
			require.Equal(t, test.want, decision.Reason)
			require.Equal(t, !decision.Injected(), len(decision.Warnings) == 1)
		})
	}
}

// TestFullAnnotations: the VM's name comes first; without room for it the pod is left as it is.
func TestFullAnnotations(t *testing.T) {
	const limit = 256 << 10 // apimachinery TotalAnnotationSizeLimitB
	const status = len(inject.AnnotationStatus) + len("v1.2.3")
	for name, test := range map[string]struct {
		spare      int // bytes that the name leaves of the limit
		reason     inject.Reason
		operations int
	}{
		"all fits":                         {status, inject.Injected, 4},
		"one byte too many for the status": {status - 1, inject.Injected, 3},
		"the name just fits":               {0, inject.Injected, 3},
		"one byte too many for the name":   {-1, inject.AnnotationsFull, 0},
	} {
		for _, present := range []string{"", "the owner's"} {
			t.Run(name+", annotation "+present, func(t *testing.T) {
				_, _, pod := readInput(t, "masq")
				fill := limit - len(contract.AnnotationVMI) - len("masq") - len("fill") - test.spare
				for key, value := range pod.Annotations {
					fill -= len(key) + len(value)
				}
				pod.Annotations["fill"] = strings.Repeat("x", fill)
				if present != "" {
					pod.Annotations[contract.AnnotationVMI] = present // replaced, so it takes no room
				}
				decision := inject.Decide(testConfig(), pod)
				require.Equal(t, test.reason, decision.Reason)
				require.Len(t, decision.Patch, test.operations)
				require.Equal(t, test.operations != 4, len(decision.Warnings) == 1)
			})
		}
	}
}

func TestDecideMayBeCalledConcurrently(t *testing.T) {
	_, _, pod := readInput(t, "pod-level-room")
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

func BenchmarkDecide(b *testing.B) {
	_, _, pod := readInput(b, "migration-target")
	cfg := testConfig()
	b.ReportAllocs()
	for b.Loop() {
		inject.Decide(cfg, pod)
	}
}

const arch = corev1.LabelArchStable

func is(key, operator string, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOperator(operator), Values: values}
}

func term(requirements ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: requirements}
}

// onNodes is a spec with a node selector, unless it is empty, and required node affinity.
func onNodes(selected string, terms ...corev1.NodeSelectorTerm) corev1.PodSpec {
	var spec corev1.PodSpec
	if selected != "" {
		spec.NodeSelector = map[string]string{arch: selected}
	}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
	return spec
}

// scheduled is the pod masq with another node selector and affinity.
func scheduled(t require.TestingT, spec corev1.PodSpec) *inject.Pod {
	_, _, pod := readInput(t, "masq")
	from := inject.FromCore(&corev1.Pod{Spec: spec})
	pod.Spec.NodeSelector, pod.Spec.Affinity = from.Spec.NodeSelector, from.Spec.Affinity
	return pod
}

func TestArchitecture(t *testing.T) {
	all, amd64 := []string{"amd64", "arm64", "s390x"}, []string{"amd64"}
	selector := func(value string) corev1.PodSpec { return corev1.PodSpec{NodeSelector: map[string]string{arch: value}} }
	preferred := corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 100, Preference: term(is(arch, "In", "amd64"))}}}}}
	byName := corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{is("metadata.name", "In", "a")}}
	for name, test := range map[string]struct {
		image    []string
		spec     corev1.PodSpec
		injected bool
	}{
		"nothing said, KubeVirt's three":             {all, corev1.PodSpec{}, true},
		"nothing said, an image of one architecture": {amd64, corev1.PodSpec{}, false},
		"selector in the list":                       {all, selector("s390x"), true},
		"selector not in the list":                   {all, selector("ppc64le"), false},
		"selector in a short list":                   {amd64, selector("amd64"), true},
		"a list with one more":                       {append(all, "ppc64le"), selector("ppc64le"), true},
		"affinity In":                                {amd64, onNodes("", term(is(arch, "In", "amd64"))), true},
		"affinity In, one of two not in the list":    {amd64, onNodes("", term(is(arch, "In", "amd64", "arm64"))), false},
		"two In that leave one":                      {amd64, onNodes("", term(is(arch, "In", "amd64", "arm64"), is(arch, "In", "amd64", "s390x"))), true},
		"NotIn leaves one":                           {amd64, onNodes("", term(is(arch, "NotIn", "arm64", "s390x"))), true},
		"NotIn before In":                            {amd64, onNodes("", term(is(arch, "NotIn", "ppc64le"), is(arch, "In", "ppc64le", "amd64"))), true},
		"NotIn leaves two":                           {amd64, onNodes("", term(is(arch, "NotIn", "s390x"))), false},
		"Exists says nothing":                        {amd64, onNodes("", term(is(arch, "Exists"))), false},
		"DoesNotExist matches no node":               {amd64, onNodes("", term(is(arch, "DoesNotExist"))), true},
		"Gt is not understood":                       {amd64, onNodes("", term(is(arch, "Gt", "1"))), false},
		"one of two terms leads elsewhere":           {amd64, onNodes("", term(is(arch, "In", "amd64")), term(is("zone", "In", "b"))), false},
		"both terms lead to the list":                {all[:2], onNodes("", term(is(arch, "In", "amd64")), term(is(arch, "In", "arm64"))), true},
		"an empty term matches no node":              {amd64, onNodes("", term(is(arch, "In", "amd64")), term()), true},
		"a node's name may be any architecture":      {amd64, onNodes("", byName), false},
		"no terms match no node":                     {amd64, onNodes(""), true},
		"selector narrows the affinity":              {amd64, onNodes("amd64", term(is("zone", "In", "b"))), true},
		"selector and affinity disagree: no node":    {amd64, onNodes("amd64", term(is(arch, "In", "arm64"))), true},
		"preferred affinity requires nothing":        {amd64, preferred, false},
		"empty affinity":                             {all, corev1.PodSpec{Affinity: &corev1.Affinity{}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Architectures = test.image
			require.NoError(t, cfg.Validate())
			decision := inject.Decide(cfg, scheduled(t, test.spec))
			require.Equal(t, test.injected, decision.Injected(), decision.Reason)
			if !test.injected {
				require.Equal(t, inject.Architecture, decision.Reason)
				require.Len(t, decision.Warnings, 1)
			}
		})
	}
}

// TestArchitectureAgreesWithTheScheduler uses the scheduler's own matcher: a pod that it may place
// on a node whose architecture is not in the list is not injected. And if only architectures are
// required, a pod that is left alone could have come to such a node.
func TestArchitectureAgreesWithTheScheduler(t *testing.T) {
	seen := map[bool]int{}
	check(t, func() bool { return seen[true] > 0 && seen[false] > 0 }, func(t *rapid.T) {
		onlyArch := rapid.Bool().Draw(t, "only architectures")
		spec := randomScheduling(t, onlyArch)
		cfg := testConfig()
		cfg.Architectures = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"amd64", "arm64", "s390x"}), 1, 3, rapid.ID[string]).Draw(t, "list")
		injected := inject.Decide(cfg, scheduled(t, spec)).Injected()
		if injected || onlyArch {
			require.Equal(t, !injected, reachesOthers(t, spec, cfg.Architectures), "list %v, spec %s", cfg.Architectures, marshal(t, spec))
		}
		seen[injected]++
	})
}

// reachesOthers reports whether the scheduler's matcher lets the pod onto a node of KubeVirt's
// whose architecture is not in the list.
func reachesOthers(t require.TestingT, spec corev1.PodSpec, list []string) bool {
	required := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: spec})
	for _, architecture := range []string{"amd64", "arm64", "s390x"} {
		for _, zone := range []string{"none", "a", "b"} {
			labels := map[string]string{arch: architecture, "zone": zone}
			matches, err := required.Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: labels}})
			require.NoError(t, err)
			if matches && !slices.Contains(list, architecture) {
				return true
			}
		}
	}
	return false
}

func randomScheduling(t *rapid.T, onlyArch bool) corev1.PodSpec {
	architectures := rapid.SampledFrom([]string{"amd64", "arm64", "s390x"})
	selected := ""
	if rarely(t) {
		selected = architectures.Draw(t, "selected")
	}
	requirement := func() corev1.NodeSelectorRequirement {
		key, values := arch, architectures
		if !onlyArch && rapid.Bool().Draw(t, "other label") {
			key, values = "zone", rapid.SampledFrom([]string{"a", "b"})
		}
		operator := rapid.SampledFrom([]string{"In", "In", "NotIn", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")
		if strings.HasSuffix(operator, "In") {
			return is(key, operator, rapid.SliceOfN(values, 1, 3).Draw(t, "values")...)
		}
		return is(key, operator)
	}
	var terms []corev1.NodeSelectorTerm
	for range rapid.IntRange(1, 3).Draw(t, "terms") {
		var one corev1.NodeSelectorTerm
		for range rapid.IntRange(0, 3).Draw(t, "requirements") {
			one.MatchExpressions = append(one.MatchExpressions, requirement())
		}
		if !onlyArch && rarely(t) {
			one.MatchFields = []corev1.NodeSelectorRequirement{is("metadata.name", "In", "node-1")}
		}
		terms = append(terms, one)
	}
	spec := onNodes(selected, terms...)
	if rarely(t) {
		spec.Affinity = nil
	}
	return spec
}

// TestArchitectureOfAHostileAffinity: the affinity comes from the VM's owner. Its cost grows with
// its length, not with the product of two lists, which would take minutes here.
func TestArchitectureOfAHostileAffinity(t *testing.T) {
	const many = 200_000
	requirements := []inject.NodeSelectorRequirement{{Key: arch, Operator: "In"}}
	for i := range many {
		value := fmt.Sprint("x", i)
		requirements[0].Values = append(requirements[0].Values, value)
		requirements = append(requirements, inject.NodeSelectorRequirement{Key: arch, Operator: "NotIn", Values: []string{value}})
	}
	pod := scheduled(t, onNodes("", term()))
	pod.Spec.Affinity.NodeAffinity.Required.Terms[0].MatchExpressions = requirements
	start := time.Now()
	require.True(t, inject.Decide(testConfig(), pod).Injected(), "no architecture is left")
	require.Less(t, time.Since(start), testkit.Patience, "%d values and %d requirements", many, many)
}
