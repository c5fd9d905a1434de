package clustertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// refusers make the namespace %[1]s refuse the sidecar, but not the VM's own containers.
var refusers = map[string]string{
	"LimitRange": `
apiVersion: v1
kind: LimitRange
metadata: {namespace: %[1]s, name: refuses}
spec:
  limits: [{type: Container, min: {memory: 32Mi}}]
`,
	"image allow-list": allowList,
}

// allowList is what clusters have that trust some registries only.
const allowList = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  validations:
  - expression: (object.spec.containers + object.spec.?initContainers.orValue([])).all(c, c.image.startsWith("quay.io/kubevirt/"))
    message: images from quay.io/kubevirt only
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

// noPods is a quota without room for any pod.
const noPods = `
apiVersion: v1
kind: ResourceQuota
metadata: {namespace: %[1]s, name: refuses}
spec:
  hard: {pods: "0"}
`

// apply applies the objects with the values filled in, until the end of the test.
func apply(t *testing.T, text string, values ...any) {
	t.Helper()
	objects, err := apiservertest.Objects(strings.NewReader(fmt.Sprintf(text, values...)))
	require.NoError(t, err)
	for _, object := range objects {
		require.NoError(t, server.Apply(t.Context(), object))
		t.Cleanup(func() { require.NoError(t, ignoreNotFound(server.Delete(context.Background(), object))) })
	}
}

// impose makes the namespace refuse pods, and waits until it does.
func impose(t *testing.T, refuser, namespace string) {
	t.Helper()
	apply(t, refuser, namespace)
	if refuser == noPods { // the status is a controller's work
		_, err := server.Client.CoreV1().ResourceQuotas(namespace).Patch(t.Context(), "refuses", types.MergePatchType,
			[]byte(`{"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	awaitRefusal(t, namespace)
}

// awaitRefusal waits until the API server has seen what refuses the sidecar: it has a cache of its own for each.
func awaitRefusal(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, func() bool {
		_, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err != nil
	})
}

// free removes what refuses the sidecar in the namespace, and waits until the API server has seen that.
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
const laterWebhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: zz-later}
webhooks:
- name: later.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: %q, caBundle: %s}
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  namespaceSelector: {matchLabels: {hypervisor-exporter.kubevirt.io/inject: enabled}}
`

// startLaterWebhook serves laterWebhook, which answers after so long, until the end of the test.
func startLaterWebhook(t *testing.T, takes time.Duration) {
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
	apply(t, laterWebhook, later.URL, base64.StdEncoding.EncodeToString(pki.Bundle{later.Certificate()}.PEM()))
	namespace := server.Namespace(t, "later", labelled())
	eventually(t, func() bool {
		pod, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err == nil && pod.GetAnnotations()["later"] == "yes"
	})
}
