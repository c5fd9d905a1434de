package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// deniedWebhookChanges are JSON patches of the webhook configuration, each of one field, by its name in the API. Each is
// valid: an administrator may do it.
var deniedWebhookChanges = map[string][]string{
	"metadata.labels":          {`{"op": "add", "path": "/metadata/labels/a", "value": "b"}`, `{"op": "remove", "path": "/metadata/labels"}`},
	"metadata.annotations":     {`{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}`},
	"metadata.finalizers":      {`{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}`},
	"metadata.ownerReferences": {`{"op": "add", "path": "/metadata/ownerReferences", "value": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "b"}]}`},
	"webhooks": {
		`{"op": "add", "path": "/webhooks/-", "value": {"name": "another.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {"url": "https://example.com/"}}}`,
		`{"op": "remove", "path": "/webhooks"}`,
	},
	"name":                    {`{"op": "replace", "path": "/webhooks/0/name", "value": "another.example.com"}`},
	"clientConfig.url":        {`{"op": "replace", "path": "/webhooks/0/clientConfig", "value": {"url": "https://example.com/"}}`},
	"clientConfig.service":    {`{"op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "another"}`, `{"op": "replace", "path": "/webhooks/0/clientConfig/service/path", "value": "/another"}`, `{"op": "add", "path": "/webhooks/0/clientConfig/service/port", "value": 8443}`},
	"rules":                   {`{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["*/*"]}`, `{"op": "remove", "path": "/webhooks/0/rules"}`},
	"failurePolicy":           {`{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}`},
	"matchPolicy":             {`{"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Exact"}`},
	"namespaceSelector":       {`{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}`},
	"objectSelector":          {`{"op": "remove", "path": "/webhooks/0/objectSelector"}`},
	"sideEffects":             {`{"op": "replace", "path": "/webhooks/0/sideEffects", "value": "NoneOnDryRun"}`},
	"timeoutSeconds":          {`{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 30}`},
	"admissionReviewVersions": {`{"op": "replace", "path": "/webhooks/0/admissionReviewVersions", "value": ["v1beta1", "v1"]}`},
	"reinvocationPolicy":      {`{"op": "replace", "path": "/webhooks/0/reinvocationPolicy", "value": "Never"}`},
	"matchConditions":         {`{"op": "remove", "path": "/webhooks/0/matchConditions"}`, `{"op": "replace", "path": "/webhooks/0/matchConditions/0/expression", "value": "true"}`},
}

// deniedDataChanges are JSON patches of a Secret or a ConfigMap.
var deniedDataChanges = map[string][]string{
	"metadata.labels":          deniedWebhookChanges["metadata.labels"],
	"metadata.annotations":     deniedWebhookChanges["metadata.annotations"],
	"metadata.finalizers":      deniedWebhookChanges["metadata.finalizers"],
	"metadata.ownerReferences": deniedWebhookChanges["metadata.ownerReferences"],
	"immutable":                {`{"op": "add", "path": "/immutable", "value": true}`},
}

// certificateProcess is a client with the process' own token.
func certificateProcess(t *testing.T) kubernetes.Interface {
	t.Helper()
	return server.As(t, server.Token(t, productNamespace, certsName))
}

// ownObject is an object that the process may patch, by RBAC.
type ownObject struct{ resource, namespace, name string }

func (o ownObject) String() string { return fmt.Sprintf("%s %s/%s", o.resource, o.namespace, o.name) }

// patch tries a change without keeping it.
func (o ownObject) patch(ctx context.Context, client kubernetes.Interface, kind types.PatchType, body string) error {
	api := client.CoreV1().RESTClient()
	if o.namespace == "" {
		api = client.AdmissionregistrationV1().RESTClient()
	}
	return api.Patch(kind).NamespaceIfScoped(o.namespace, o.namespace != "").Resource(o.resource).Name(o.name).
		Param("dryRun", metav1.DryRunAll).Param("fieldManager", "test").Body([]byte(body)).Do(ctx).Error()
}

// allowedChange is a merge patch such as the process makes.
func (o ownObject) allowedChange() string {
	switch o.resource {
	case "secrets":
		return `{"data": {"tls.crt": "bmV3"}}`
	case "configmaps":
		return `{"data": {"ca.crt": "new"}}`
	}
	return ""
}

// deniedChanges are JSON patches by the name of the field.
func (o ownObject) deniedChanges() map[string][]string {
	switch o.resource {
	case "mutatingwebhookconfigurations":
		return deniedWebhookChanges
	case "configmaps":
		changes := maps.Clone(deniedDataChanges)
		changes["binaryData"] = []string{`{"op": "add", "path": "/binaryData", "value": {"a": "YQ=="}}`}
		return changes
	}
	return deniedDataChanges
}

func requireDeniedByPolicy(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "ValidatingAdmissionPolicy '"+certsName+"' with binding '"+certsName+"' denied request: the certificate process may")
}

// awaitCertsPolicy waits until the API server knows both what the process may do and what it may not.
func awaitCertsPolicy(t *testing.T, process kubernetes.Interface, o ownObject) {
	t.Helper()
	eventually(t, func() bool {
		err := o.patch(t.Context(), process, types.JSONPatchType, "["+deniedWebhookChanges["metadata.finalizers"][0]+"]")
		return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
	})
}

// On each object that RBAC lets the process patch, every field but the one that it is there for stays as it is. Anyone
// else is not affected. Each variant with the process has the same policy and no other object.
func TestCertificateProcessChangesOneFieldOfEachObject(t *testing.T) {
	base, own := render(t, "."), ownObjects(t, ".")
	for _, folder := range renderings() {
		if has(folder, "cert-manager") {
			require.Empty(t, ownObjects(t, folder), "the one without the process")
			continue
		}
		require.Subset(t, own, ownObjects(t, folder), folder)
		for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
			require.Equal(t, find(t, base, kind, certsName), find(t, render(t, folder), kind, certsName), folder)
		}
	}
	install(t, ".")
	process := certificateProcess(t)
	for _, o := range own {
		t.Run(o.String(), func(t *testing.T) {
			awaitCertsPolicy(t, process, o)
			if change := o.allowedChange(); change != "" {
				require.NoError(t, o.patch(t.Context(), process, types.MergePatchType, change))
			} else {
				requireBundleChanges(t, process, o)
			}
			for field, changes := range o.deniedChanges() {
				for _, change := range changes {
					requireDeniedByPolicy(t, o.patch(t.Context(), process, types.JSONPatchType, "["+change+"]"))
					require.NoError(t, o.patch(t.Context(), server.Client, types.JSONPatchType, "["+change+"]"), field)
				}
			}
		})
	}
}

// requireBundleChanges: the one change of the webhook configuration, in each way that a client may ask for it.
func requireBundleChanges(t *testing.T, process kubernetes.Interface, o ownObject) {
	t.Helper()
	bundle, err := json.Marshal(newCA(t).CertPEM)
	require.NoError(t, err)
	const name = "inject.hypervisor-exporter.kubevirt.io"
	merged := fmt.Sprintf(`{"webhooks": [{"name": %q, "clientConfig": {"caBundle": %s}}]}`, name, bundle)
	require.NoError(t, o.patch(t.Context(), process, types.StrategicMergePatchType, merged))
	require.NoError(t, o.patch(t.Context(), process, types.JSONPatchType, fmt.Sprintf(`[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": %s}]`, bundle)))
	require.NoError(t, o.patch(t.Context(), process, types.JSONPatchType, `[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]`))
	both := fmt.Sprintf(`{"webhooks": [{"name": %q, "failurePolicy": "Fail", "clientConfig": {"caBundle": %s}}]}`, name, bundle)
	requireDeniedByPolicy(t, o.patch(t.Context(), process, types.StrategicMergePatchType, both))
}

// A policy that matched every resource would have the API server look up the namespace of each request, and so refuse
// to delete what is left in a namespace whose finalizers someone removed by hand.
func TestCertsPolicyLetsLeftoversBeDeleted(t *testing.T) {
	install(t, ".")
	awaitCertsPolicy(t, certificateProcess(t), ownObjects(t, ".")[0])
	namespace := server.Namespace(t, "leftover", nil)
	secrets := server.Client.CoreV1().Secrets(namespace)
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "left"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	namespaces := server.Client.CoreV1().Namespaces()
	require.NoError(t, namespaces.Delete(t.Context(), namespace, metav1.DeleteOptions{}))
	stored, err := namespaces.Get(t.Context(), namespace, metav1.GetOptions{})
	require.NoError(t, err)
	stored.Spec.Finalizers = nil
	_, err = namespaces.Finalize(t.Context(), stored, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, func() bool {
		_, err := namespaces.Get(t.Context(), namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	require.NoError(t, secrets.Delete(t.Context(), "left", metav1.DeleteOptions{}))
}
