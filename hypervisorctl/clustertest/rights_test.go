package clustertest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// grant gives a user rights in a namespace.
func grant(t *testing.T, namespace, user string, groups, resources []string, verbs ...string) error {
	t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace},
		Rules:      []rbacv1.PolicyRule{{APIGroups: groups, Resources: resources, Verbs: verbs}},
	}
	stored, err := server.Client.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := bind(t, namespace, "Role", stored.Name, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}); err != nil {
		return err
	}
	resource, subresource, _ := strings.Cut(resources[0], "/")
	awaitRight(t, user, nil, authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: verbs[0], Group: groups[0], Resource: resource, Subresource: subresource,
	})
	return nil
}

// awaitRight waits until the API server's authorizer, which watches roles, knows of one.
func awaitRight(t *testing.T, user string, groups []string, right authorizationv1.ResourceAttributes) {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups, ResourceAttributes: &right,
	}}
	eventually(t, func() bool {
		answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(), review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed
	})
}

// bind binds a role in a namespace.
func bind(t *testing.T, namespace, kind, role string, subject rbacv1.Subject) error {
	t.Helper()
	_, err := server.Client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}, metav1.CreateOptions{})
	return err
}

// rights applies rbac.yaml, which needs the product's namespaces.
func rights(t *testing.T) {
	t.Helper()
	for _, namespace := range []string{cluster.ExporterNamespace, cluster.RelayNamespace} {
		_, err := server.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		require.True(t, err == nil || apierrors.IsAlreadyExists(err), "%v", err)
	}
	for _, object := range readObjects(t, "../command/rbac.yaml") {
		require.NoError(t, server.Apply(t.Context(), object))
	}
	awaitRight(t, "reader", []string{"hypervisorctl"}, authorizationv1.ResourceAttributes{
		Verb: "list", Group: "monitoring.coreos.com", Resource: "prometheuses",
	})
	awaitRight(t, "reader", []string{"hypervisorctl"}, authorizationv1.ResourceAttributes{
		Namespace: cluster.RelayNamespace, Verb: "get", Resource: "pods", Subresource: "log",
	})
}

// mayDryRun gives the readers the right to a dry run in a namespace.
func mayDryRun(t *testing.T, namespace string) {
	t.Helper()
	readers := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "hypervisorctl"}
	require.NoError(t, bind(t, namespace, "ClusterRole", "hypervisorctl-dry-run", readers))
	awaitRight(t, "reader", []string{"hypervisorctl"}, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "pods"})
}

// reader is a user with the rights of rbac.yaml and no other.
func reader() []string { return as("reader", "hypervisorctl", "system:authenticated") }
