package checks

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// plugin is the hypervisorctl that `make build` made, in the hands of a ServiceAccount.
type plugin struct {
	account, kubeconfig string
}

// printed is what a command line printed and how it ended.
type printed struct {
	out, err string
	code     int
}

// pluginOf makes a ServiceAccount, which has no right yet, and gives it the plugin.
func (w *world) pluginOf(t *testing.T, account string) plugin {
	t.Helper()
	p := plugin{account: account, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"e2e": {Server: w.Config.Host, CertificateAuthority: w.Config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"e2e": {Token: w.tokenFor(t, account)}},
		Contexts:       map[string]*clientcmdapi.Context{"e2e": {Cluster: "e2e", AuthInfo: "e2e"}},
		CurrentContext: "e2e",
	}, p.kubeconfig))
	return p
}

// call runs a command line and shows what came of it.
func (p plugin) call(t *testing.T, args ...string) printed {
	t.Helper()
	program := filepath.Join(product(t), "bin", runtime.GOARCH, "kubectl-hypervisor")
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = []string{"KUBECONFIG=" + p.kubeconfig, "HOME=" + filepath.Dir(p.kubeconfig)}
	var out, errOut strings.Builder
	command.Stdout, command.Stderr = &out, &errOut
	var ended *exec.ExitError
	if err := command.Run(); !errors.As(err, &ended) {
		require.NoError(t, err, "make build makes it")
	}
	got := printed{out.String(), errOut.String(), command.ProcessState.ExitCode()}
	t.Logf("%s $ kubectl hypervisor %s\n%s%s(exit code %d)", p.account, strings.Join(args, " "), got.out, got.err, got.code)
	return got
}

// object runs a command line that prints JSON and reads it.
func (p plugin) object(t *testing.T, into any, args ...string) {
	t.Helper()
	got := p.call(t, append(args, "-o", "json")...)
	require.Zero(t, got.code, got.err)
	require.Empty(t, got.err, "nothing to note")
	require.NoError(t, json.Unmarshal([]byte(got.out), into))
}

// pluginRights are the objects of hypervisorctl/rbac.yaml.
func pluginRights(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(product(t), "hypervisorctl", "rbac.yaml"))
	require.NoError(t, err)
	objects, err := cluster.Objects(text)
	require.NoError(t, err)
	return objects
}

// reader is a ServiceAccount with the rights that hypervisorctl/rbac.yaml names, those to the relay and to a dry run in
// one namespace included, and with no other. The roles stay: other checks may go by them.
func (w *world) reader(t *testing.T, account, namespace string) plugin {
	t.Helper()
	p := w.pluginOf(t, account)
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: plain, Name: account}
	var roles []*unstructured.Unstructured
	bindings := []*unstructured.Unstructured{
		binding("RoleBinding", cluster.Relay, "Role", "hypervisorctl-relay", subject),
		binding("RoleBinding", namespace, "ClusterRole", "hypervisorctl-dry-run", subject),
	}
	for _, object := range pluginRights(t) {
		if !strings.HasSuffix(object.GetKind(), "Binding") {
			roles = append(roles, object)
			continue
		}
		role, _, _ := unstructured.NestedString(object.Object, "roleRef", "name")
		roleKind, _, _ := unstructured.NestedString(object.Object, "roleRef", "kind")
		bindings = append(bindings, binding(object.GetKind(), object.GetNamespace(), roleKind, role, subject))
	}
	t.Cleanup(func() { require.NoError(t, w.Client.Delete(context.Background(), bindings...)) })
	require.NoError(t, w.Apply(t.Context(), append(roles, bindings...)...))
	w.awaitRight(t, account, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Verb: "list", Group: "kubevirt.io", Resource: "virtualmachineinstances",
	}})
	w.awaitRight(t, account, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Verb: "create", Resource: "pods", Namespace: namespace,
	}})
	return p
}

// binding binds a role as an administrator does by hand; its name is the role's and the account's.
func binding(kind, namespace, roleKind, role string, subject rbacv1.Subject) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": "e2e-" + role + "-" + subject.Name},
		"roleRef":  map[string]any{"apiGroup": rbacv1.GroupName, "kind": roleKind, "name": role},
		"subjects": []any{map[string]any{"kind": subject.Kind, "namespace": subject.Namespace, "name": subject.Name}},
	}}
	object.SetNamespace(namespace)
	return object
}

// awaitRight waits until the API server's authorizer, which watches roles and bindings, knows of a right.
func (w *world) awaitRight(t *testing.T, account string, right authorizationv1.SubjectAccessReviewSpec) {
	t.Helper()
	right.User = "system:serviceaccount:" + plain + ":" + account
	right.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	eventually(t, patience, "a right of "+account, func(ctx context.Context) error {
		review, err := w.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: right}, metav1.CreateOptions{})
		if err == nil && !review.Status.Allowed {
			err = errors.New("not yet")
		}
		return err
	})
}
