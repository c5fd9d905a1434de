package clustertest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// refusers make the namespace refuse the sidecar, but not the VM's own containers.
var refusers = map[string]func(t *testing.T, namespace string){
	"LimitRange, least memory of a container": func(t *testing.T, namespace string) {
		limit(t, namespace, corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{"memory": resource.MustParse("32Mi")}})
	},
	"LimitRange, most memory of a pod": func(t *testing.T, namespace string) {
		limit(t, namespace, corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: corev1.ResourceList{"memory": resource.MustParse("440Mi")}})
	},
	"ResourceQuota without room for it": func(t *testing.T, namespace string) {
		quota(t, namespace, corev1.ResourceList{"requests.memory": resource.MustParse("440Mi")})
	},
	"image allow-list": allowKubeVirtsImages,
}

func limit(t *testing.T, namespace string, item corev1.LimitRangeItem) {
	t.Helper()
	_, err := server.Client.CoreV1().LimitRanges(namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "refuses"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	awaitRefusal(t, namespace)
}

// quota makes a ResourceQuota and its status, which is a controller's work.
func quota(t *testing.T, namespace string, hard corev1.ResourceList) {
	t.Helper()
	quotas, used := server.Client.CoreV1().ResourceQuotas(namespace), corev1.ResourceList{}
	for name := range hard {
		used[name] = resource.MustParse("0")
	}
	made, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "refuses"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	made.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
	_, err = quotas.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	awaitRefusal(t, namespace)
}

// allowKubeVirtsImages is what clusters have that trust some registries only.
func allowKubeVirtsImages(t *testing.T, namespace string) {
	t.Helper()
	policies, bindings := server.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), server.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	_, err := policies.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{
				Expression: `(object.spec.containers + object.spec.?initContainers.orValue([])).all(c, c.image.startsWith("quay.io/kubevirt/"))`,
				Message:    "images from quay.io/kubevirt only",
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = bindings.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: namespace, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = bindings.Delete(context.Background(), namespace, metav1.DeleteOptions{})
		_ = policies.Delete(context.Background(), namespace, metav1.DeleteOptions{})
	})
	awaitRefusal(t, namespace)
}

// awaitRefusal waits until the API server has seen what refuses the sidecar: it has a cache of its own for each.
func awaitRefusal(t *testing.T, namespace string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err != nil
	}, 30*time.Second, 100*time.Millisecond)
}

// free takes away what refuses the sidecar in the namespace, and waits until the API server has seen that.
func free(t *testing.T, namespace string) {
	ctx, all := context.Background(), metav1.ListOptions{}
	core, registration := server.Client.CoreV1(), server.Client.AdmissionregistrationV1()
	_ = core.LimitRanges(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = core.ResourceQuotas(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = registration.ValidatingAdmissionPolicyBindings().Delete(ctx, namespace, metav1.DeleteOptions{})
	for range 300 {
		if _, err := server.Create(ctx, ofNewVM(launcher(t, namespace, "masq")), dryRun()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the namespace still refuses the sidecar")
}

// laterWebhook adds an annotation to launcher pods after the product has seen them: its configuration's name comes later.
func laterWebhook(t *testing.T, takes time.Duration) {
	t.Helper()
	later := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(takes)
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &kind, Patch: []byte(`[{"op": "add", "path": "/metadata/annotations/later", "value": "yes"}]`)}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(later.Close)
	bundle := pki.Bundle{later.Certificate()}.PEM()
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	configurations := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-later"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "later.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &later.URL, CABundle: bundle},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: labelled()},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = configurations.Delete(context.Background(), "zz-later", metav1.DeleteOptions{}) })
	namespace := server.Namespace(t, "later", labelled())
	require.Eventually(t, func() bool {
		pod, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err == nil && pod.GetAnnotations()["later"] == "yes"
	}, 30*time.Second, 100*time.Millisecond)
}
