package inject_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"pgregory.net/rapid"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestArchitecture(t *testing.T) {
	const arch = corev1.LabelArchStable
	affinity := func(terms ...string) string {
		return `"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[` + strings.Join(terms, ",") + `]}}}`
	}
	term := func(requirements ...string) string {
		return `{"matchExpressions":[` + strings.Join(requirements, ",") + `]}`
	}
	is := func(key, operator string, values ...string) string {
		return fmt.Sprintf(`{"key":%q,"operator":%q,"values":%s}`, key, operator, marshal(t, values))
	}
	selector := func(value string) string { return fmt.Sprintf(`"nodeSelector":{%q:%q}`, arch, value) }
	all := []string{"amd64", "arm64", "s390x"}
	for _, test := range []struct {
		name     string
		image    []string
		spec     string
		injected bool
	}{
		{"nothing said, KubeVirt's three", all, `"hostNetwork":false`, true},
		{"nothing said, an image of one architecture", []string{"amd64"}, `"hostNetwork":false`, false},
		{"selector in the list", all, selector("s390x"), true},
		{"selector not in the list", all, selector("ppc64le"), false},
		{"selector in a short list", []string{"amd64"}, selector("amd64"), true},
		{"a list with one more", append(all, "ppc64le"), selector("ppc64le"), true},
		{"affinity In", []string{"amd64"}, affinity(term(is(arch, "In", "amd64"))), true},
		{"affinity In, one of two not in the list", []string{"amd64"}, affinity(term(is(arch, "In", "amd64", "arm64"))), false},
		{"two In that leave one", []string{"amd64"}, affinity(term(is(arch, "In", "amd64", "arm64"), is(arch, "In", "amd64", "s390x"))), true},
		{"NotIn leaves one", []string{"amd64"}, affinity(term(is(arch, "NotIn", "arm64", "s390x"))), true},
		{"NotIn before In", []string{"amd64"}, affinity(term(is(arch, "NotIn", "ppc64le"), is(arch, "In", "ppc64le", "amd64"))), true},
		{"NotIn leaves two", []string{"amd64"}, affinity(term(is(arch, "NotIn", "s390x"))), false},
		{"Exists says nothing", []string{"amd64"}, affinity(term(is(arch, "Exists"))), false},
		{"DoesNotExist matches no node", []string{"amd64"}, affinity(term(is(arch, "DoesNotExist"))), true},
		{"Gt is not understood", []string{"amd64"}, affinity(term(is(arch, "Gt", "1"))), false},
		{"of two terms one leads elsewhere", []string{"amd64"}, affinity(term(is(arch, "In", "amd64")), term(is("zone", "In", "b"))), false},
		{"both terms lead to the list", []string{"amd64", "arm64"}, affinity(term(is(arch, "In", "amd64")), term(is(arch, "In", "arm64"))), true},
		{"a term without requirements matches no node", []string{"amd64"}, affinity(term(is(arch, "In", "amd64")), `{}`), true},
		{"a node's name may be any architecture", []string{"amd64"}, affinity(`{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}`), false},
		{"no terms match no node", []string{"amd64"}, affinity(), true},
		{"selector narrows the affinity", []string{"amd64"}, selector("amd64") + "," + affinity(term(is("zone", "In", "b"))), true},
		{"selector and affinity disagree: no node", []string{"amd64"}, selector("amd64") + "," + affinity(term(is(arch, "In", "arm64"))), true},
		{"preferred affinity binds nothing", []string{"amd64"}, `"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"preference":` + term(is(arch, "In", "amd64")) + `}]}}`, false},
		{"null affinity", all, `"affinity":null,"nodeSelector":null`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Architectures = test.image
			require.NoError(t, cfg.Validate())
			decision := inject.Decide(cfg, podWith(t, test.spec))
			require.Equal(t, test.injected, decision.Injected(), decision.Reason)
			if !test.injected {
				require.Equal(t, inject.Architecture, decision.Reason)
				require.Len(t, decision.Warnings, 1)
			}
		})
	}
}

// podWith is the pod masq with other members of its spec, and no selector or affinity of its own.
func podWith(t require.TestingT, members string) *inject.Pod {
	podJSON, err := json.Marshal(masqWith(t, members))
	require.NoError(t, err)
	pod, err := inject.ParsePod(podJSON)
	require.NoError(t, err)
	return pod
}

func masqWith(t require.TestingT, members string) object {
	var pod, spec object
	document, err := os.ReadFile("testdata/masq.yaml")
	require.NoError(t, err)
	podJSON, _, err := inject.ReadPod(document)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(podJSON, &pod))
	require.NoError(t, json.Unmarshal([]byte("{"+members+"}"), &spec))
	own := pod["spec"].(object)
	delete(own, "nodeSelector")
	delete(own, "affinity")
	for key, value := range spec {
		own[key] = value
	}
	return pod
}

// The scheduler's own matcher, for a node of each architecture with other labels of all kinds: a pod that it may put on
// a node whose architecture is not in the list is not injected. And a pod that is left alone for its architecture could
// have come to such a node, where it speaks of nothing but architectures.
func TestArchitectureAgreesWithTheScheduler(t *testing.T) {
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"amd64", "arm64", "s390x", "ppc64le"}), 1, 4, rapid.ID[string]).Draw(t, "list")
		onlyArch := rapid.Bool().Draw(t, "only architectures")
		pod := schedulable(t, onlyArch)
		cfg := testConfig()
		cfg.Architectures = list
		members := fmt.Sprintf(`"nodeSelector":%s,"affinity":%s`, marshal(t, pod.Spec.NodeSelector), marshal(t, pod.Spec.Affinity))
		injected := inject.Decide(cfg, podWith(t, members)).Injected()
		if injected || onlyArch {
			require.Equal(t, !injected, reachable(t, pod, list), "list %v, pod %s", list, members)
		}
		seen[injected]++
	})
	require.Positive(t, seen[true])
	require.Positive(t, seen[false])
}

// reachable says whether the scheduler's matcher lets the pod onto a node whose architecture is not in the list. Such a
// node has one of KubeVirt's architectures, or one that the pod's selector or a term asks for; the terms are ORed, so
// each is asked on its own.
func reachable(t require.TestingT, pod *corev1.Pod, list []string) bool {
	if pod.Spec.Affinity == nil {
		return matchesElsewhere(t, pod, list)
	}
	return slices.ContainsFunc(requiredOf(pod).NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		one := pod.DeepCopy()
		requiredOf(one).NodeSelectorTerms = []corev1.NodeSelectorTerm{term}
		return matchesElsewhere(t, one, list)
	})
}

func matchesElsewhere(t require.TestingT, pod *corev1.Pod, list []string) bool {
	required := nodeaffinity.GetRequiredNodeAffinity(pod)
	for _, architecture := range []string{"amd64", "arm64", "s390x", "ppc64le"} {
		if slices.Contains(list, architecture) || architecture == "ppc64le" && !asksFor(pod, architecture) {
			continue
		}
		for _, zone := range []string{"", "a", "b"} {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{corev1.LabelArchStable: architecture}}}
			if zone != "" {
				node.Labels["zone"] = zone
			}
			matches, err := required.Match(node)
			require.NoError(t, err)
			if matches {
				return true
			}
		}
	}
	return false
}

func asksFor(pod *corev1.Pod, architecture string) bool {
	if pod.Spec.NodeSelector[corev1.LabelArchStable] == architecture {
		return true
	}
	return pod.Spec.Affinity != nil && slices.ContainsFunc(requiredOf(pod).NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return slices.ContainsFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelArchStable && r.Operator == corev1.NodeSelectorOpIn && slices.Contains(r.Values, architecture)
		})
	})
}

func requiredOf(pod *corev1.Pod) *corev1.NodeSelector {
	return pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

func schedulable(t *rapid.T, onlyArch bool) *corev1.Pod {
	pod := &corev1.Pod{}
	architectures := rapid.SampledFrom([]string{"amd64", "arm64", "s390x", "ppc64le"})
	if rarely(t) {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelArchStable: architectures.Draw(t, "selected")}
	}
	if rarely(t) {
		return pod
	}
	requirement := func() corev1.NodeSelectorRequirement {
		r := corev1.NodeSelectorRequirement{Key: corev1.LabelArchStable}
		values := architectures
		if !onlyArch && rapid.Bool().Draw(t, "other label") {
			r.Key, values = "zone", rapid.SampledFrom([]string{"a", "b"})
		}
		r.Operator = rapid.SampledFrom([]corev1.NodeSelectorOperator{"In", "In", "NotIn", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")
		if r.Operator == "In" || r.Operator == "NotIn" {
			r.Values = rapid.SliceOfN(values, 1, 3).Draw(t, "values")
		}
		return r
	}
	selector := &corev1.NodeSelector{}
	for range rapid.IntRange(1, 3).Draw(t, "terms") {
		term := corev1.NodeSelectorTerm{}
		for range rapid.IntRange(0, 3).Draw(t, "requirements") {
			term.MatchExpressions = append(term.MatchExpressions, requirement())
		}
		if !onlyArch && rarely(t) {
			term.MatchFields = []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"node-1"}}}
		}
		selector.NodeSelectorTerms = append(selector.NodeSelectorTerms, term)
	}
	pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: selector}}
	return pod
}

// The affinity comes from the VM's owner: its cost grows with its length, not with a product of two lists.
func TestArchitectureOfAHostileAffinity(t *testing.T) {
	const many = 50_000
	in := inject.NodeSelectorRequirement{Key: corev1.LabelArchStable, Operator: "In"}
	requirements := []inject.NodeSelectorRequirement{in}
	for i := range many {
		requirements[0].Values = append(requirements[0].Values, fmt.Sprint("x", i))
		requirements = append(requirements, inject.NodeSelectorRequirement{Key: corev1.LabelArchStable, Operator: "NotIn", Values: []string{fmt.Sprint("x", i)}})
	}
	_, _, pod := readInput(t, "testdata/masq")
	pod.Spec.NodeSelector = nil
	pod.Spec.Affinity = &inject.Affinity{NodeAffinity: &inject.NodeAffinity{Required: &inject.NodeSelector{Terms: []inject.NodeSelectorTerm{{MatchExpressions: requirements}}}}}
	start := time.Now()
	require.True(t, inject.Decide(testConfig(), pod).Injected(), "no architecture is left")
	require.Less(t, time.Since(start), 5*time.Second, "%d values and %d requirements", many, many)
}
