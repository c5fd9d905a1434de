package clustertest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

const (
	policyOverlay = "overlays/admission-policy"
	injectedImage = "registry.example/exporter/sidecar:v0.1.0"
)

// The admission policy and the webhook make the same pod of each pod: the one is created with the policy in force, the
// other is patched by package inject and created where nothing of ours sees it.
func TestPolicyInjectsAsTheWebhookDoes(t *testing.T) {
	both := applyPolicy(t)
	injections := 0
	for _, name := range allLaunchers(t) {
		t.Run(name, func(t *testing.T) {
			injections += both.requireSame(t, func(*unstructured.Unstructured) {}, name)
		})
	}
	require.Greater(t, injections, 2*len(genuine))
}

func TestPolicyReadsSizesAsTheWebhookDoes(t *testing.T) {
	both := applyPolicy(t)
	values := []string{"", "0", "1", "0.5", "0.0015", "2m", "500m", "501m", "1k", "16Mi", "15.9Mi", "16777216", "16777216.5", "30M", "0.03G",
		"25.5Mi", "20000.0003Ki", "256Mi", "0.25Gi", "257Mi", "1e3", "1e-2147483647", "-1", "+1", " 1", "1 ", "١", "24Mi\n", "999999999999Gi", "1E"}
	for _, annotation := range []string{inject.AnnotationCPU, inject.AnnotationMemory} {
		for _, value := range values {
			t.Run(filepath.Base(annotation)+"="+value, func(t *testing.T) {
				injections := both.requireSame(t, func(pod *unstructured.Unstructured) { setAnnotation(pod, annotation, value) }, "masq")
				require.Equal(t, 1, injections)
			})
		}
	}
}

func TestPolicyJoinsSafeVolumesAsTheWebhookDoes(t *testing.T) {
	both := applyPolicy(t)
	for _, list := range []string{"", "private", "private,public", "hypervisor-exporter", "private,hypervisor-exporter,public", ",", strings.Repeat("v", 4096), strings.Repeat("v", 4097)} {
		injections := both.requireSame(t, func(pod *unstructured.Unstructured) {
			setAnnotation(pod, "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes", list)
		}, "masq")
		require.Equal(t, 1, injections)
	}
}

// What an API server takes of annotations is 256 KiB; ours must not be what has a VM refused. Without room for the
// VM's name the pod is left as it is.
func TestPolicyKeepsWithinTheRoomForAnnotations(t *testing.T) {
	both := applyPolicy(t)
	const limit, name = 256 << 10, len(contract.AnnotationVMI) + len("masq")
	const status = len(inject.AnnotationStatus) + len("v0.1.0")
	for spare, injected := range map[int]int{60_000: 1, name + status: 1, name + status - 1: 1, name: 1, name - 1: 0, 0: 0} {
		for _, standing := range []string{"", contract.AnnotationVMI, inject.AnnotationStatus} {
			t.Run(fmt.Sprint(spare, " ", standing), func(t *testing.T) {
				injections := both.requireSame(t, func(pod *unstructured.Unstructured) {
					used := 0
					for key, value := range pod.GetAnnotations() {
						used += len(key) + len(value)
					}
					// An odd rest is one byte of its own: "ä" has two.
					size := limit - spare - used - len("filler")
					setAnnotation(pod, "filler", strings.Repeat("ä", size/2)+strings.Repeat("x", size%2))
					if standing != "" {
						setAnnotation(pod, standing, "x")
					}
				}, "masq")
				if standing == "" {
					require.Equal(t, injected, injections)
				}
			})
		}
	}
}

// With a policy that makes no sense, pods are created as if it were not there.
func TestPolicyFailsOpen(t *testing.T) {
	for variable, expression := range map[string]string{
		"image":            "' '",
		"pullPolicy":       "'Sometimes'",
		"standardCPU":      "'much'",
		"standardMemory":   "'0'",
		"standardGoMemory": "'1Gi'",
		"gogc":             "object.spec.gogc",
		"architectures":    "['x86_64']",
	} {
		t.Run(variable, func(t *testing.T) {
			both := applyPolicy(t)
			policy := find(t, render(t, policyOverlay), "MutatingAdmissionPolicy", configurationName)
			setVariable(t, policy, variable, expression)
			require.NoError(t, server.Apply(t.Context(), policy))
			both.awaitInjection(t, false)
		})
	}
}

func setVariable(t *testing.T, policy *unstructured.Unstructured, name, expression string) {
	t.Helper()
	variables, _, err := unstructured.NestedSlice(policy.Object, "spec", "variables")
	require.NoError(t, err)
	i := slices.IndexFunc(variables, func(v any) bool { return v.(map[string]any)["name"] == name })
	variables[i].(map[string]any)["expression"] = expression
	require.NoError(t, unstructured.SetNestedSlice(policy.Object, variables, "spec", "variables"))
}

// policyAndWebhook are the two ways to inject, with the same settings.
type policyAndWebhook struct {
	config inject.Config
	// The policy is in force in the one namespace and not in the other.
	enabled, other string
}

// setting is a variable of the policy and its expression.
type setting struct{ name, expression string }

// applyPolicy installs the overlay with the settings and waits until the API server acts on it.
func applyPolicy(t *testing.T, settings ...setting) policyAndWebhook {
	t.Helper()
	objects := render(t, policyOverlay)
	for _, kind := range []string{"Namespace", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		for _, object := range objects {
			if object.GetKind() == kind {
				if kind == "MutatingAdmissionPolicy" {
					for _, s := range append(settings, setting{"image", "'" + injectedImage + "'"}) {
						setVariable(t, object, s.name, s.expression)
					}
				}
				require.NoError(t, server.Apply(t.Context(), object))
			}
		}
	}
	t.Cleanup(func() { uninstall(t) })
	both := policyAndWebhook{
		config:  inject.Default(injectedImage),
		enabled: server.Namespace(t, "policy", labelled()),
		other:   server.Namespace(t, "other", nil),
	}
	both.awaitInjection(t, true)
	return both
}

func (p policyAndWebhook) awaitInjection(t *testing.T, want bool) {
	t.Helper()
	p.awaitInjectionOf(t, func(*unstructured.Unstructured) {}, want)
}

func (p policyAndWebhook) awaitInjectionOf(t *testing.T, change func(*unstructured.Unstructured), want bool) {
	t.Helper()
	eventually(t, func() bool {
		pod := launcher(t, p.enabled, "masq")
		change(pod)
		pod, err := server.Create(t.Context(), pod, dryRun())
		require.NoError(t, err)
		return injected(pod) == want
	})
}

// requireSame creates the changed pod both ways and returns how many of them, 0 or 1, were injected.
func (p policyAndWebhook) requireSame(t *testing.T, change func(*unstructured.Unstructured), name string) int {
	t.Helper()
	pod := launcher(t, p.enabled, name)
	change(pod)
	got, err := server.Create(t.Context(), pod, dryRun())
	pod = launcher(t, p.other, name)
	change(pod)
	want, wantErr := server.Create(t.Context(), p.patched(t, pod), dryRun())
	if wantErr != nil {
		require.Error(t, err, "the webhook's pod is refused: %v", wantErr)
		return 0
	}
	require.NoError(t, err)
	require.Equal(t, withoutIdentity(t, want), withoutIdentity(t, got))
	if injected(got) {
		return 1
	}
	return 0
}

// patched is the pod as the webhook answers it.
func (p policyAndWebhook) patched(t *testing.T, pod *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	content, err := pod.MarshalJSON()
	require.NoError(t, err)
	typed, err := inject.ParsePod(content)
	require.NoError(t, err)
	content, err = inject.Apply(content, inject.Decide(p.config, typed).Patch)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &pod.Object))
	return pod
}

// withoutIdentity is the pod's text without what makes two pods two.
func withoutIdentity(t *testing.T, pod *unstructured.Unstructured) string {
	t.Helper()
	for _, field := range []string{"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields"} {
		unstructured.RemoveNestedField(pod.Object, "metadata", field)
	}
	text, err := yaml.Marshal(pod.Object)
	require.NoError(t, err)
	return string(text)
}

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

// unsetImages begins every image of the manifests as they are. The domain .invalid never exists (RFC 6761).
const unsetImages = "images-not-set.see-docs-install.invalid/"

// The admission policy works without any pod of ours, so it checks by itself that an image is set.
func TestPolicyWithoutAnImageInjectsNothing(t *testing.T) {
	both := applyPolicy(t)
	policy := find(t, render(t, policyOverlay), "MutatingAdmissionPolicy", configurationName)
	variables, _, err := unstructured.NestedSlice(policy.Object, "spec", "variables")
	require.NoError(t, err)
	require.Contains(t, variables, map[string]any{"name": "image", "expression": "'" + unsetImages + "kubevirt-hypervisor-exporter/sidecar:v0.1.0'"})
	require.NoError(t, server.Apply(t.Context(), policy))
	both.awaitInjection(t, false)
}
