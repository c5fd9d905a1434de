package clustertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

// Check --pre tries what an installation needs.
func TestCheckBeforeAnInstallation(t *testing.T) {
	define(t)
	kubeVirt(t, false)
	createNode(t, "before-1", "amd64", "", "", 0)
	kubeletVersion(t, "before-1", "v1.36.3")
	restricted := server.Namespace(t, "restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	privileged := server.Namespace(t, "privileged", map[string]string{"pod-security.kubernetes.io/enforce": "privileged"})
	pre := func(user []string, args ...string) answer {
		return callAs(t, user, append([]string{"check", "--pre"}, args...)...)
	}
	administrators := as("root", "system:masters", "system:authenticated")

	t.Run("all is well", func(t *testing.T) {
		got := pre(administrators, "--exporter-namespace="+restricted, "--relay-namespace="+privileged)
		require.Zero(t, got.code, got.out+got.err)
		for _, want := range []string{
			"ok    Kubernetes v1.36.3 is supported (1.30 or newer)", "know native sidecars", "ok    KubeVirt v1.9.0 is supported (1.6 or newer)",
			"injection by a policy possible: yes", "the Prometheus operator's kinds are of 0.", "ok    you may create all objects of an installation",
			"namespace " + restricted + " admits our pods (Pod Security level: restricted)", "namespace " + privileged + " admits our pods",
		} {
			require.Contains(t, got.out, want)
		}
		require.Contains(t, pre(administrators, "--exporter-namespace=new", "--relay-namespace=newer").out, "namespace newer does not exist yet")
	})
	t.Run("the relay's namespace refuses a hostPath", func(t *testing.T) {
		got := pre(administrators, "--exporter-namespace="+privileged, "--relay-namespace="+restricted, "-o", "short")
		require.Equal(t, 2, got.code)
		require.Equal(t, "fail  namespaces: namespace "+restricted+" enforces the Pod Security level restricted: the relay's pods, which have a hostPath, are refused\n", got.out)
	})
	t.Run("an old kubelet", func(t *testing.T) {
		kubeletVersion(t, "before-1", "v1.28.9")
		defer kubeletVersion(t, "before-1", "v1.36.3")
		got := pre(administrators, "--exporter-namespace="+restricted, "--relay-namespace="+privileged, "-o", "short")
		require.Equal(t, 2, got.code)
		require.Equal(t, "fail  kubernetes: these nodes have kubelets that are not supported: VMs with a native sidecar may not start there (before-1 (v1.28.9))\n", got.out)
	})
	t.Run("an old KubeVirt", func(t *testing.T) {
		version(t, "v1.5.2")
		defer kubeVirt(t, false)
		require.Contains(t, pre(administrators, "-o", "short").out, "fail  kubernetes: KubeVirt v1.5.2 is not supported\n")
	})
	t.Run("no rights to install", func(t *testing.T) {
		got := pre(as("nobody", "system:authenticated"))
		require.Equal(t, 2, got.code)
		require.Regexp(t, `fail  you may not install it: \d+ rights are missing\n +kubectl auth can-i create clusterrolebindings.rbac.authorization.k8s.io\n`, got.out)
		require.Contains(t, got.out, "kubectl auth can-i create daemonsets.apps -n hypervisor-exporter-relay\n")
		require.Contains(t, got.out, "warn  you may not do what")
	})
	t.Run("exactly the rights of the kinds in the manifests", func(t *testing.T) {
		objects, err := kustomizetest.Render("../../manifests")
		require.NoError(t, err)
		require.NoError(t, server.Apply(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "installer"}, "rules": rulesFor(objects),
		}}))
		_, err = server.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "installer-"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "installer"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "installer"}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		awaitRight(t, "installer", nil, authorizationv1.ResourceAttributes{Verb: "patch", Group: "apps", Resource: "daemonsets"})
		got := pre(as("installer", "system:authenticated"))
		require.Contains(t, got.out, "ok    you may create all objects of an installation", "no other right is asked for")
		for i, rule := range rulesFor(objects) { // each one is asked for
			kind := rule.(map[string]any)["resources"].([]any)[0].(string)
			require.Contains(t, pre(as("nobody", "system:authenticated")).out, "can-i create "+kind, "rule %d", i)
		}
	})
}

// rulesFor returns the rights to create and change objects.
func rulesFor(objects []*unstructured.Unstructured) []any {
	var rules []any
	var seen []string
	for _, object := range objects {
		kind := object.GroupVersionKind()
		resource := strings.ToLower(kind.Kind) + "s"
		if base, y := strings.CutSuffix(resource, "ys"); y {
			resource = base + "ies"
		}
		if slices.Contains(seen, resource) {
			continue
		}
		seen = append(seen, resource)
		rules = append(rules, map[string]any{"apiGroups": []any{kind.Group}, "resources": []any{resource}, "verbs": []any{"create", "patch"}})
	}
	return rules
}

// kubeletVersion reports a node's version.
func kubeletVersion(t *testing.T, node, running string) {
	t.Helper()
	stored, err := server.Client.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	require.NoError(t, err)
	stored.Status.NodeInfo = corev1.NodeSystemInfo{Architecture: "amd64", KubeletVersion: running}
	_, err = server.Client.CoreV1().Nodes().UpdateStatus(t.Context(), stored, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// version sets KubeVirt's.
func version(t *testing.T, running string) {
	t.Helper()
	require.NoError(t, server.Apply(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": map[string]any{"namespace": "default", "name": "kubevirt"},
		"status": map[string]any{"phase": "Deployed", "observedKubeVirtVersion": running},
	}}))
}
