package clustertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// ownObjects are what the roles of a folder let the certificate process patch. They grant nothing else but to read the
// same objects.
func ownObjects(t *testing.T, folder string) []ownObject {
	t.Helper()
	var own []ownObject
	for _, object := range render(t, folder) {
		if object.GetName() != certsName || (object.GetKind() != "Role" && object.GetKind() != "ClusterRole") {
			continue
		}
		for _, rule := range rulesOf(t, object) {
			require.Len(t, rule.APIGroups, 1)
			require.Len(t, rule.Resources, 1)
			want := []string{"get", "patch"}
			if rule.Resources[0] == "mutatingwebhookconfigurations" {
				want = []string{"get", "watch", "patch"}
			}
			require.Equal(t, want, rule.Verbs)
			require.NotEmpty(t, rule.ResourceNames)
			for _, name := range rule.ResourceNames {
				own = append(own, ownObject{rule.Resources[0], object.GetNamespace(), name})
			}
		}
	}
	return own
}

func rulesOf(t *testing.T, role *unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	var typed rbacv1.ClusterRole // a Role's rules are the same
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(role.Object, &typed))
	return typed.Rules
}

// The policy limits the fields of certain objects; RBAC limits the process to these objects. What the API server lets the
// process do, it may do because of our roles, or because everyone may.
func TestCertificateProcessHasNoOtherRight(t *testing.T) {
	install(t, ".")
	process := certificateProcess(t)
	for _, namespace := range []string{productNamespace, relayNamespace, "kube-system", "default"} {
		var want []ownObject
		for _, own := range ownObjects(t, ".") {
			if own.namespace == namespace || own.namespace == "" {
				want = append(want, own)
			}
		}
		slices.SortFunc(want, byName)
		eventually(t, func() bool { return slices.Equal(patchable(t, process, namespace), want) }, namespace, want)
	}
}

func byName(a, b ownObject) int { return strings.Compare(a.String(), b.String()) }

// patchable are the objects that the user may change, sorted. It fails the test where the user may write anything in
// another way.
func patchable(t *testing.T, user certsUser, namespace string) []ownObject {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	review, err := user.client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	require.NoError(t, err)
	require.False(t, review.Status.Incomplete)
	var own []ownObject
	for _, rule := range review.Status.ResourceRules {
		if slices.Equal(rule.Verbs, []string{"create"}) && len(rule.ResourceNames) == 0 {
			for _, resource := range rule.Resources { // system:basic-user: reviews of oneself, which are not stored
				require.Contains(t, []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}, resource)
			}
			continue
		}
		require.Subset(t, []string{"get", "watch", "patch"}, rule.Verbs)
		require.NotEmpty(t, rule.ResourceNames)
		for _, name := range rule.ResourceNames {
			o := ownObject{rule.Resources[0], namespace, name}
			if o.resource == "mutatingwebhookconfigurations" {
				o.namespace = ""
			}
			own = append(own, o)
		}
	}
	slices.SortFunc(own, byName)
	return own
}

// The policy comes and goes with the process.
func TestCertsPolicyComesWithTheProcess(t *testing.T) {
	for _, folder := range renderings() {
		kinds := map[string]bool{}
		for _, object := range render(t, folder) {
			kinds[object.GetKind()] = kinds[object.GetKind()] || object.GetName() == certsName
		}
		for _, kind := range []string{"Deployment", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
			require.Equal(t, !has(folder, "cert-manager"), kinds[kind], "%s: %s", folder, kind)
		}
	}
}
