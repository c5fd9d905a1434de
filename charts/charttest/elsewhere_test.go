package charttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Every namespace in an object is one of the release's.
func TestNothingStaysInTheUsualNamespaces(t *testing.T) {
	for _, installation := range installations {
		t.Run(installation.folder, func(t *testing.T) {
			for _, object := range render(t, append(installation.flags(), "--namespace="+elsewhere)...) {
				require.Contains(t, []string{elsewhere, elsewhere + "-relay", ""}, object.GetNamespace())
				if object.GetKind() == "PodMonitor" {
					requireUsualJob(t, object)
				}
				mapTexts(object.Object, func(text string) string {
					for _, where := range []string{"." + usualNamespace + ".svc", "." + usualNamespace + "-relay.svc", "namespace=" + usualNamespace} {
						require.NotContains(t, text, where, object.GetName())
					}
					return text
				})
				subjects, _, err := unstructured.NestedSlice(object.Object, "subjects")
				require.NoError(t, err)
				for _, subject := range subjects {
					require.Contains(t, []string{elsewhere, elsewhere + "-relay", "openshift-monitoring"}, subject.(map[string]any)["namespace"])
				}
				requireLeftOut(t, object)
				requireOwnProcess(t, object)
			}
		})
	}
}

// requireUsualJob checks the job that rules and dashboards name.
func requireUsualJob(t *testing.T, monitor *unstructured.Unstructured) {
	t.Helper()
	want := usualNamespace + "/" + monitor.GetName()
	if monitor.GetName() == "hypervisor-exporter-relay" {
		want = usualNamespace + "-relay/" + monitor.GetName()
	}
	endpoints, _, err := unstructured.NestedSlice(monitor.Object, "spec", "podMetricsEndpoints")
	require.NoError(t, err)
	require.Len(t, endpoints, 1)
	require.Contains(t, endpoints[0].(map[string]any)["relabelings"], map[string]any{"targetLabel": "job", "replacement": want})
}

// requireLeftOut checks that nothing is injected into the release's own namespace.
func requireLeftOut(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	var selectors []any
	switch object.GetKind() {
	case "MutatingWebhookConfiguration":
		for _, webhook := range object.Object["webhooks"].([]any) {
			selectors = append(selectors, webhook.(map[string]any)["namespaceSelector"])
			service, _, err := unstructured.NestedString(webhook.(map[string]any), "clientConfig", "service", "namespace")
			require.NoError(t, err)
			require.Equal(t, elsewhere, service)
		}
	case "MutatingAdmissionPolicy":
		selector, _, err := unstructured.NestedMap(object.Object, "spec", "matchConstraints", "namespaceSelector")
		require.NoError(t, err)
		selectors = append(selectors, selector)
	}
	for _, selector := range selectors {
		for _, expression := range selector.(map[string]any)["matchExpressions"].([]any) {
			require.Contains(t, expression.(map[string]any)["values"], elsewhere)
			require.NotContains(t, expression.(map[string]any)["values"], usualNamespace)
		}
	}
}

// requireOwnProcess checks that the policies name the release's namespace.
func requireOwnProcess(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetKind() != "ValidatingAdmissionPolicy" {
		return
	}
	spec := object.Object["spec"].(map[string]any)
	if object.GetName() != "hypervisor-exporter-certs" {
		require.Equal(t, map[string]any{"kubernetes.io/metadata.name": elsewhere},
			spec["matchConstraints"].(map[string]any)["namespaceSelector"].(map[string]any)["matchLabels"], "the webhook's Deployment is there")
		return
	}
	require.Equal(t, "request.userInfo.username == 'system:serviceaccount:elsewhere:hypervisor-exporter-certs'",
		spec["matchConditions"].([]any)[0].(map[string]any)["expression"])
	require.Equal(t, []any{
		map[string]any{"name": "ownNamespace", "expression": "'elsewhere'"},
		map[string]any{"name": "relayNamespace", "expression": "'elsewhere-relay'"},
	}, spec["variables"].([]any)[:2])
}

// The chart replaces text in the policy.
func TestPolicyHasItsSettings(t *testing.T) {
	output, err := client.template(t.Context(), "--set=injector=admissionPolicy,image.tag=v9,image.pullPolicy=Always",
		"--namespace="+elsewhere)
	require.NoError(t, err)
	for _, want := range []string{
		`expression: "'images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter:v9'"`,
		`expression: "'Always'"`,
		`values: ["elsewhere","kube-system"]`,
	} {
		require.Equal(t, 1, strings.Count(output, want), want)
	}
}
