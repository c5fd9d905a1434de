package checks

import (
	"encoding/json"
	"errors"
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

// plugin is the hypervisorctl that `make build` made, as a ServiceAccount runs it.
type plugin struct{ account, kubeconfig string }

// printed is what a command line printed and how it ended.
type printed struct {
	out, err string
	code     int
}

// pluginOf creates a ServiceAccount, which has no right yet, and returns its plugin.
func (f *framework) pluginOf(account string) plugin {
	p := plugin{account: account, kubeconfig: filepath.Join(f.t.TempDir(), "kubeconfig")}
	f.must(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"e2e": {Server: f.Config.Host, CertificateAuthority: f.Config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"e2e": {Token: f.tokenFor(account)}},
		Contexts:       map[string]*clientcmdapi.Context{"e2e": {Cluster: "e2e", AuthInfo: "e2e"}},
		CurrentContext: "e2e",
	}, p.kubeconfig))
	return p
}

// call runs a command line and logs what came of it.
func (p plugin) call(t *testing.T, args ...string) printed {
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
	got := p.call(t, append(args, "-o", "json")...)
	require.Zero(t, got.code, got.err)
	require.Empty(t, got.err, "no note")
	require.NoError(t, json.Unmarshal([]byte(got.out), into))
}

// pluginRights are the objects of hypervisorctl/command/rbac.yaml.
func (f *framework) pluginRights() []*unstructured.Unstructured {
	return f.productObjects("hypervisorctl/command/rbac.yaml")
}

// reader is a ServiceAccount with the rights that hypervisorctl/command/rbac.yaml names, those to the relay and to a dry run in
// one namespace included, and with no other. The roles stay: other checks may use them.
func (f *framework) reader(account, namespace string) plugin {
	p := f.pluginOf(account)
	bindings := []*unstructured.Unstructured{
		binding("RoleBinding", cluster.Relay, "Role", "hypervisorctl-relay", account),
		binding("RoleBinding", namespace, "ClusterRole", "hypervisorctl-dry-run", account),
	}
	for _, object := range f.pluginRights() {
		if !strings.HasSuffix(object.GetKind(), "Binding") {
			f.must(f.Apply(f.ctx, object))
			continue
		}
		role, _, _ := unstructured.NestedStringMap(object.Object, "roleRef")
		bindings = append(bindings, binding(object.GetKind(), object.GetNamespace(), role["kind"], role["name"], account))
	}
	f.bind(bindings...)
	f.awaitRight(account, "list", "kubevirt.io", "virtualmachineinstances", "")
	f.awaitRight(account, "create", "", "pods", namespace)
	return p
}

// bind applies bindings, until the check ends.
func (f *framework) bind(bindings ...*unstructured.Unstructured) {
	f.t.Cleanup(func() { f.must(f.Client.Delete(f.ctx, bindings...)) })
	f.must(f.Apply(f.ctx, bindings...))
}

// binding binds a role as an administrator does by hand; its name is the role's and the account's.
func binding(kind, namespace, roleKind, role, account string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": "e2e-" + role + "-" + account},
		"roleRef":  map[string]any{"apiGroup": rbacv1.GroupName, "kind": roleKind, "name": role},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": plain, "name": account}},
	}}
	object.SetNamespace(namespace)
	return object
}

// awaitRight waits until the API server's authorizer, which watches roles and bindings, grants a right on a resource, or
// resource/subresource.
func (f *framework) awaitRight(account, verb, group, resource, namespace string) {
	resource, subresource, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + plain + ":" + account, Groups: []string{"system:serviceaccounts", "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace},
	}}
	f.until("a right of "+account, func() bool {
		answer, err := f.AuthorizationV1().SubjectAccessReviews().Create(f.ctx, review, metav1.CreateOptions{})
		f.must(err)
		return answer.Status.Allowed
	}, nil)
}
