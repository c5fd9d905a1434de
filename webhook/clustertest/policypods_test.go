package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The architectures that a pod may come to are read in the same way, with a list of all three and of one.
func TestPolicyReadsArchitecturesAsTheWebhookDoes(t *testing.T) {
	const arch = "kubernetes.io/arch"
	requirement := func(key, operator string, values ...any) any {
		r := map[string]any{"key": key, "operator": operator}
		if len(values) > 0 {
			r["values"] = values
		}
		return r
	}
	term := func(requirements ...any) any { return map[string]any{"matchExpressions": requirements} }
	byName := map[string]any{"matchFields": []any{requirement("metadata.name", "In", "node-1")}}
	affinities := [][]any{
		nil,
		{term(requirement(arch, "In", "amd64"))},
		{term(requirement(arch, "In", "amd64", "ppc64le"))},
		{term(requirement(arch, "In", "amd64", "ppc64le"), requirement(arch, "In", "amd64", "arm64"))},
		{term(requirement(arch, "NotIn", "ppc64le"), requirement(arch, "In", "ppc64le", "arm64"))},
		{term(requirement(arch, "NotIn", "arm64", "s390x"))},
		{term(requirement(arch, "Exists"))},
		{term(requirement(arch, "DoesNotExist"))},
		{term(requirement(arch, "Gt", "1"))},
		{term(requirement("zone", "In", "b"))},
		{term(requirement(arch, "In", "amd64"), requirement("zone", "NotIn", "b")), term(requirement("zone", "Exists"))},
		{term(requirement(arch, "In", "amd64")), map[string]any{}},
		{term(requirement(arch, "In", "s390x")), byName},
		{byName},
	}
	for _, list := range [][]string{{"amd64", "arm64", "s390x"}, {"amd64"}} {
		t.Run(strings.Join(list, ","), func(t *testing.T) {
			both := applyPolicy(t, setting{"architectures", "['" + strings.Join(list, "', '") + "']"})
			both.config.Architectures = list
			silent := func(pod *unstructured.Unstructured) {
				unstructured.RemoveNestedField(pod.Object, "spec", "nodeSelector")
				unstructured.RemoveNestedField(pod.Object, "spec", "affinity")
			}
			// The API server may still go by the policy of the test before.
			both.awaitInjectionOf(t, silent, len(list) == 3)
			seen := map[int]int{}
			for _, selector := range []string{"", "amd64", "ppc64le"} {
				for i, terms := range affinities {
					t.Run(fmt.Sprint(selector, i), func(t *testing.T) {
						seen[both.requireSame(t, func(pod *unstructured.Unstructured) {
							silent(pod)
							if selector != "" {
								require.NoError(t, unstructured.SetNestedField(pod.Object, selector, "spec", "nodeSelector", arch))
							}
							if terms != nil {
								require.NoError(t, unstructured.SetNestedSlice(pod.Object, terms,
									"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"))
							}
						}, "masq")]++
					})
				}
			}
			require.Greater(t, seen[0], 5)
			require.Greater(t, seen[1], 5)
		})
	}
}

// Compute's AppArmor profile is the sidecar's, from the field and from the annotation. Where the API server refuses the
// pod, because they disagree, it does so both ways.
func TestPolicyTakesOverAppArmorAsTheWebhookDoes(t *testing.T) {
	both := applyPolicy(t)
	fields := []map[string]any{nil, {"type": "Unconfined"}, {"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "vm/a"}}
	annotations := []string{"", "unconfined", "runtime/default", "localhost/vm/a", "localhost/", "localhost/ vm", "localhost/" + strings.Repeat("x", 4095), "localhost/" + strings.Repeat("x", 4096), "much"}
	injections := 0
	for i, profile := range fields {
		for j, annotation := range annotations {
			t.Run(fmt.Sprint(i, j), func(t *testing.T) {
				injections += both.requireSame(t, func(pod *unstructured.Unstructured) {
					containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "containers")
					require.NoError(t, err)
					at := slices.IndexFunc(containers, func(c any) bool { return c.(map[string]any)["name"] == "compute" })
					if profile != nil {
						require.NoError(t, unstructured.SetNestedMap(containers[at].(map[string]any), profile, "securityContext", "appArmorProfile"))
						require.NoError(t, unstructured.SetNestedSlice(pod.Object, containers, "spec", "containers"))
					}
					if annotation != "" {
						setAnnotation(pod, "container.apparmor.security.beta.kubernetes.io/compute", annotation)
					}
				}, "masq")
			})
		}
	}
	require.Equal(t, 14, injections, "each field alone, each annotation but one alone, and each pair that agrees")
}
