package check

import (
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/manifests"
)

// Each field that the API server acts on is compared.
func TestDrift(t *testing.T) {
	const own, relay = "hypervisor-exporter", "hypervisor-exporter-relay"
	all, fails, unknown := admissionv1.AllScopes, admissionv1.Fail, admissionv1.SideEffectClassUnknown
	never, exact, seconds := admissionv1.NeverReinvocationPolicy, admissionv1.Exact, int32(10)
	for name, test := range map[string]struct {
		change func(*admissionv1.MutatingWebhook)
		want   string
	}{
		"as shipped": {func(*admissionv1.MutatingWebhook) {}, ""},
		"as stored": {func(w *admissionv1.MutatingWebhook) {
			equivalent, port := admissionv1.Equivalent, int32(443)
			w.MatchPolicy, w.ClientConfig.Service.Port, w.ClientConfig.CABundle = &equivalent, &port, []byte("ca")
		}, ""},
		"more namespaces excluded": {func(w *admissionv1.MutatingWebhook) {
			values := &w.NamespaceSelector.MatchExpressions[0].Values
			*values = append(*values, "another")
		}, ""},
		"failure policy, which has its own line": {func(w *admissionv1.MutatingWebhook) { w.FailurePolicy = &fails }, ""},
		"timeout":                                {func(w *admissionv1.MutatingWebhook) { w.TimeoutSeconds = &seconds }, "timeoutSeconds (10, not 2)"},
		"reinvocation":                           {func(w *admissionv1.MutatingWebhook) { w.ReinvocationPolicy = &never }, "reinvocationPolicy (Never, not IfNeeded)"},
		"match policy":                           {func(w *admissionv1.MutatingWebhook) { w.MatchPolicy = &exact }, "matchPolicy (Exact, not Equivalent)"},
		"side effects":                           {func(w *admissionv1.MutatingWebhook) { w.SideEffects = &unknown }, "sideEffects (Unknown, not None)"},
		"scope of a rule":                        {func(w *admissionv1.MutatingWebhook) { w.Rules[0].Scope = &all }, "rules"},
		"no condition":                           {func(w *admissionv1.MutatingWebhook) { w.MatchConditions = nil }, "matchConditions"},
		"condition":                              {func(w *admissionv1.MutatingWebhook) { w.MatchConditions[0].Expression = "true" }, "matchConditions"},
		"objects":                                {func(w *admissionv1.MutatingWebhook) { w.ObjectSelector = &metav1.LabelSelector{} }, "objectSelector"},
		"label of namespaces":                    {func(w *admissionv1.MutatingWebhook) { w.NamespaceSelector.MatchLabels = nil }, "namespaceSelector"},
		"path":                                   {func(w *admissionv1.MutatingWebhook) { w.ClientConfig.Service.Path = nil }, "clientConfig"},
		"review versions":                        {func(w *admissionv1.MutatingWebhook) { w.AdmissionReviewVersions = nil }, "admissionReviewVersions"},
		"our namespace is not excluded": {func(w *admissionv1.MutatingWebhook) {
			w.NamespaceSelector.MatchExpressions[0].Values = []string{metav1.NamespaceSystem, relay}
		}, "namespaceSelector (does not exclude " + own + ")"},
		"nothing is excluded": {func(w *admissionv1.MutatingWebhook) { w.NamespaceSelector = nil },
			"namespaceSelector, namespaceSelector (does not exclude " + own + "), namespaceSelector (does not exclude " + relay + "), namespaceSelector (does not exclude kube-system)"},
	} {
		t.Run(name, func(t *testing.T) {
			configuration := &admissionv1.MutatingWebhookConfiguration{}
			require.NoError(t, yaml.Unmarshal(manifests.WebhookConfiguration, configuration))
			require.Equal(t, corev1.LabelMetadataName, configuration.Webhooks[0].NamespaceSelector.MatchExpressions[0].Key)
			test.change(&configuration.Webhooks[0])
			lines, err := driftLines(configuration, own, relay)
			require.NoError(t, err)
			require.Len(t, lines, 1)
			if test.want == "" {
				require.Equal(t, OK, lines[0].Level, lines[0].Text)
				return
			}
			require.Equal(t, Warn, lines[0].Level)
			require.Equal(t, "webhook inject.hypervisor-exporter.kubevirt.io differs from what is shipped: "+test.want, lines[0].Text)
		})
	}
	lines, err := driftLines(&admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{Name: "other.example"}}})
	require.NoError(t, err)
	require.Contains(t, lines[0].Text, "has a webhook that is not ours: other.example")
}
