package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
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

// podChange makes a pod that the policy and the webhook must treat in the same way.
type podChange func(t *testing.T, pod *unstructured.Unstructured)

// The admission policy and the webhook make the same pod of each pod: the one is created with the policy in force, the
// other is patched by package inject and created where nothing of ours sees it.
func TestPolicyInjectsAsTheWebhookDoes(t *testing.T) {
	both := applyPolicy(t)
	// 30 sizes of CPU and memory each, 8 safe lists, 11 of annotations that are nearly full, and of AppArmor each field
	// alone, each annotation but one alone, and each pair that agrees. Other pairs are refused both ways.
	require.Equal(t, 2*30+8+11+14, both.requireAllSame(t, podChanges()))
	both.requireLaunchersSame(t)
}

// podChanges are changes of a pod by what they set.
func podChanges() map[string]podChange {
	changes := map[string]podChange{}
	annotate := func(key string, values ...string) {
		for i, value := range values {
			changes[fmt.Sprint(key, i)] = func(_ *testing.T, pod *unstructured.Unstructured) { setAnnotation(pod, key, value) }
		}
	}
	for _, size := range []string{inject.AnnotationCPU, inject.AnnotationMemory} {
		annotate(size, "", "0", "1", "0.5", "0.0015", "2m", "500m", "501m", "1k", "16Mi", "15.9Mi", "16777216", "16777216.5", "30M",
			"0.03G", "25.5Mi", "20000.0003Ki", "256Mi", "0.25Gi", "257Mi", "1e3", "1e-2147483647", "-1", "+1", " 1", "1 ", "١",
			"24Mi\n", "999999999999Gi", "1E")
	}
	annotate("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes", "", "private", "private,public", "hypervisor-exporter",
		"private,hypervisor-exporter,public", ",", strings.Repeat("v", 4096), strings.Repeat("v", 4097))
	for i, profile := range []map[string]any{nil, {"type": "Unconfined"}, {"type": "RuntimeDefault"},
		{"type": "Localhost", "localhostProfile": "vm/a"}} {
		for j, annotation := range []string{"", "unconfined", "runtime/default", "localhost/vm/a", "localhost/", "localhost/ vm",
			"localhost/" + strings.Repeat("x", 4095), "localhost/" + strings.Repeat("x", 4096), "much"} {
			changes[fmt.Sprint("AppArmor", i, j)] = appArmor(profile, annotation)
		}
	}
	// Ours must not be what has a VM refused. Without room for the VM's name the pod is left as it is.
	const name, status = len(contract.AnnotationVMI) + len("masq"), len(inject.AnnotationStatus) + len("v0.1.0")
	for _, spare := range []int{60_000, name + status, name + status - 1, name, name - 1, 0} {
		for _, present := range []string{"", contract.AnnotationVMI, inject.AnnotationStatus} {
			changes[fmt.Sprint("annotations", spare, present)] = fillAnnotations(spare, present)
		}
	}
	return changes
}

// fillAnnotations leaves so much of the 256 KiB that an API server takes of annotations, and then sets the present one.
func fillAnnotations(spare int, present string) podChange {
	return func(_ *testing.T, pod *unstructured.Unstructured) {
		size := 256<<10 - spare - len("filler")
		for key, value := range pod.GetAnnotations() {
			size -= len(key) + len(value)
		}
		// An odd rest is one byte of its own: "ä" has two.
		setAnnotation(pod, "filler", strings.Repeat("ä", size/2)+strings.Repeat("x", size%2))
		if present != "" {
			setAnnotation(pod, present, "x")
		}
	}
}

// appArmor sets compute's AppArmor profile, by the field and by the annotation.
func appArmor(profile map[string]any, annotation string) podChange {
	return func(t *testing.T, pod *unstructured.Unstructured) {
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
	}
}

// The architectures that a pod may come to are read in the same way, with a list of all three and of one.
func TestPolicyReadsArchitecturesAsTheWebhookDoes(t *testing.T) {
	anyNode := func(_ *testing.T, pod *unstructured.Unstructured) {
		unstructured.RemoveNestedField(pod.Object, "spec", "nodeSelector")
		unstructured.RemoveNestedField(pod.Object, "spec", "affinity")
	}
	changes := map[string]podChange{}
	for _, selector := range []string{"", "amd64", "ppc64le"} {
		for i, terms := range architectureTerms() {
			changes[fmt.Sprint(selector, i)] = func(t *testing.T, pod *unstructured.Unstructured) {
				anyNode(t, pod)
				if selector != "" {
					require.NoError(t, unstructured.SetNestedField(pod.Object, selector, "spec", "nodeSelector", corev1.LabelArchStable))
				}
				if terms != nil {
					require.NoError(t, unstructured.SetNestedSlice(pod.Object, terms,
						"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"))
				}
			}
		}
	}
	for _, list := range [][]string{{"amd64", "arm64", "s390x"}, {"amd64"}} {
		t.Run(strings.Join(list, ","), func(t *testing.T) {
			both := applyPolicy(t, setting{"architectures", "['" + strings.Join(list, "', '") + "']"})
			both.config.Architectures = list
			// The API server may still go by the policy of the test before.
			both.awaitInjection(t, len(list) == 3, anyNode)
			injected := both.requireAllSame(t, changes)
			require.Greater(t, injected, 5)
			require.Greater(t, len(changes)-injected, 5)
		})
	}
}

// architectureTerms are required node affinities: one list of terms each.
func architectureTerms() [][]any {
	const arch = corev1.LabelArchStable
	requirement := func(key, operator string, values ...any) any {
		r := map[string]any{"key": key, "operator": operator}
		if len(values) > 0 {
			r["values"] = values
		}
		return r
	}
	term := func(requirements ...any) any { return map[string]any{"matchExpressions": requirements} }
	byName := map[string]any{"matchFields": []any{requirement("metadata.name", "In", "node-1")}}
	return [][]any{
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
}

// With a policy that makes no sense, pods are created as if it were not there.
func TestPolicyFailsOpen(t *testing.T) {
	for _, s := range []setting{
		{"image", "' '"},
		{"image", "'" + unsetImage + ":v0.1.0'"}, // as the manifest has it: no pod of ours checks that one is set
		{"pullPolicy", "'Sometimes'"},
		{"standardCPU", "'much'"},
		{"standardMemory", "'0'"},
		{"standardGoMemory", "'1Gi'"},
		{"gogc", "object.spec.gogc"},
		{"architectures", "['x86_64']"},
	} {
		t.Run(s.name+"="+s.expression, func(t *testing.T) {
			both := applyPolicy(t)
			policy := find(t, render(t, policyOverlay), "MutatingAdmissionPolicy", configurationName)
			setVariable(t, policy, "image", "'"+injectedImage+"'")
			setVariable(t, policy, s.name, s.expression)
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

// policyAndWebhook are two ways to inject with the same settings: what is installed, and package inject.
type policyAndWebhook struct {
	config inject.Config
	// What is installed is in force in the one namespace and not in the other.
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

// awaitInjection waits until the policy injects the pod after the changes, or no longer does.
func (p policyAndWebhook) awaitInjection(t *testing.T, want bool, changes ...podChange) {
	t.Helper()
	eventually(t, func() bool {
		pod := launcher(t, p.enabled, "masq")
		for _, change := range changes {
			change(t, pod)
		}
		pod, err := server.Create(t.Context(), pod, dryRun())
		require.NoError(t, err)
		return injected(pod) == want
	})
}

// requireLaunchersSame calls requireSame with each pod of package inject.
func (p policyAndWebhook) requireLaunchersSame(t *testing.T) {
	t.Helper()
	injections := 0
	for _, name := range allLaunchers(t) {
		t.Run(name, func(t *testing.T) {
			injections += p.requireSame(t, func(*testing.T, *unstructured.Unstructured) {}, name)
		})
	}
	require.Greater(t, injections, 2*len(genuine))
}

// requireAllSame calls requireSame with each change of a pod, and returns how many were injected.
func (p policyAndWebhook) requireAllSame(t *testing.T, changes map[string]podChange) int {
	t.Helper()
	injections := 0
	for name, change := range changes {
		t.Run(name, func(t *testing.T) { injections += p.requireSame(t, change, "masq") })
	}
	return injections
}

// requireSame creates the changed pod both ways and returns how many of them, 0 or 1, were injected. A pod that the API
// server accepts without the sidecar, it accepts with it; in a namespace without the label it is left as it is.
func (p policyAndWebhook) requireSame(t *testing.T, change podChange, name string) int {
	t.Helper()
	pod := launcher(t, p.enabled, name)
	change(t, pod)
	got, err := server.Create(t.Context(), pod, dryRun())
	pod = launcher(t, p.other, name)
	change(t, pod)
	has := injected(pod)
	plain, plainErr := server.Create(t.Context(), pod, dryRun())
	want, wantErr := server.Create(t.Context(), p.patched(t, pod), dryRun())
	if plainErr == nil {
		require.Equal(t, has, injected(plain), "a namespace without the label")
		require.NoError(t, wantErr, "valid without the sidecar")
	}
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

// unsetImage is the image of the manifests as they are. The domain .invalid never exists (RFC 6761).
const unsetImage = "images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter"
