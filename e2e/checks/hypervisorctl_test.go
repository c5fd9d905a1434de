package checks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// row is what is told of a VM.
type row struct {
	Namespace, Name, Phase, Node, Pod                          string
	Type, Source, DomainType, Architecture, Machine            string
	HypervisorVersion, LibvirtVersion, Sidecar, SidecarVersion string
	Reason                                                     string
}

// The plugin tells by way of the relay what each VM runs on, finds nothing wrong where all is well, and says what is
// missing and to whom. TestStart, TestWebhookGone and TestAdmissionPolicy have it look at what they have made.
func TestHypervisorctl(t *testing.T) {
	t.Parallel()
	w := connect(t)
	const namespace = "ctl"
	require.NoError(t, w.Namespace(t.Context(), namespace, map[string]string{inject: "enabled"}))
	web := vm{namespace: namespace, name: "ctl-web"}
	out := vm{namespace: namespace, name: "ctl-opted-out", annotations: map[string]string{inject: "false"}}
	w.create(t, out)
	w.start(t, web)
	eventually(t, patience, out.name+" to run", func(ctx context.Context) error { return w.isIn(ctx, out, "Running") })
	w.awaitTarget(t, web, "up")
	reader := w.reader(t, "ctl-reader", namespace)
	awaitVersion(t, reader, web)

	t.Run("list", func(t *testing.T) {
		table := reader.call(t, "list", "-n", namespace)
		require.Zero(t, table.code)
		require.Empty(t, table.err)
		require.Regexp(t, `(?m)^ctl-opted-out +- +- +\S+ +absent +opted_out +\S+\nctl-web +kvm +kvm +\S+ +running +- +\S+$`, table.out)
		wide := reader.call(t, "list", "-A", "-l", "check=ctl-web", "-o", "wide")
		require.Equal(t, 2, strings.Count(wide.out, "\n"), "a header and one VM")
		require.Regexp(t, `^NAMESPACE +NAME .* QEMU +LIBVIRT +VERSION +SOURCE +POD\nctl +ctl-web .* \d+\.\d+\.\d+ +\d+\.\d+\.\d+ +v\S+ +relay +`+w.pod(t, web).Name+`\n$`, wide.out)
		yaml := reader.call(t, "list", "-n", namespace, "-l", "check=ctl-web", "-o", "yaml")
		require.Contains(t, yaml.out, "\n  type: kvm\n")
	})
	t.Run("check", func(t *testing.T) {
		certificates.Lock()
		defer certificates.Unlock()
		got := reader.call(t, "check", "-n", namespace)
		require.Zero(t, got.code, "all is well")
		require.Contains(t, got.out, "1 VM has no metric: opted_out")
		require.Contains(t, got.out, "1 of 2 VMs are measured (asked: relay)")
		got = reader.call(t, append([]string{"check", "-n", namespace}, w.prometheus(t)...)...)
		require.Zero(t, got.code)
		require.Contains(t, got.out, "1 of 2 VMs are measured (asked: prometheus)")
	})
	t.Run("list from Prometheus", func(t *testing.T) {
		require.Equal(t, "prometheus", told(t, reader, web, w.prometheus(t)...).Source)
	})
	t.Run("the owner of a namespace", func(t *testing.T) { w.ownerLooks(t, web) })
	t.Run("somebody without rights", func(t *testing.T) {
		nobody := w.pluginOf(t, "ctl-nobody")
		for _, args := range [][]string{{"list"}, {"explain", web.name}} {
			got := nobody.call(t, append(args, "-n", namespace)...)
			require.Equal(t, 1, got.code)
			require.Empty(t, got.out)
			require.Regexp(t, `(?m)^error: you may not (list|get) virtualmachineinstances.*\(try: kubectl auth can-i `, got.err)
		}
		got := nobody.call(t, "check", "-n", namespace)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "you may not")
		require.NotContains(t, got.out, "fail  ", "what was not seen is not said to have failed")
	})
	t.Run("a namespace that does not ask", func(t *testing.T) {
		got := reader.call(t, "check", "-n", plain)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "warn  the namespace plain is not labelled for sidecars")
		got = reader.call(t, "check", "-n", "plian")
		require.Equal(t, 2, got.code)
		require.Contains(t, got.out, "fail  there is no namespace plian")
	})
}

// ownerLooks: whoever may administer a namespace needs no right of ours to see the types there, through the sidecar.
func (w *world) ownerLooks(t *testing.T, v vm) {
	owner := w.pluginOf(t, "ctl-owner")
	role := binding("RoleBinding", v.namespace, "ClusterRole", "edit", rbacv1.Subject{Kind: "ServiceAccount", Namespace: plain, Name: owner.account})
	t.Cleanup(func() { require.NoError(t, w.Client.Delete(context.Background(), role)) })
	require.NoError(t, w.Apply(t.Context(), role))
	w.awaitRight(t, owner.account, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Verb: "create", Resource: "pods", Subresource: "exec", Namespace: v.namespace,
	}})
	seen := told(t, owner, v, "--source=exec")
	require.Equal(t, "exec", seen.Source)
	require.Equal(t, "kvm", seen.Type)
	got := owner.call(t, "list", "-n", v.namespace)
	require.Zero(t, got.code)
	require.Contains(t, got.err, "note: no types: the relay cannot be asked: you may not create pods/portforward")
}

// prometheus are the flags for the cluster's Prometheus, which has no address outside: by way of the API server, as its
// administrator.
func (w *world) prometheus(t *testing.T) []string {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(w.Config.BearerToken), 0o600))
	return []string{
		"--prometheus-url=" + w.Config.Host + "/api/v1/namespaces/" + cluster.Monitoring + "/pods/prometheus-e2e-0:9090/proxy",
		"--prometheus-token-file=" + token, "--prometheus-ca-file=" + w.Config.CAFile,
	}
}

// told is the plugin's row of the VM, the one of that name.
func told(t *testing.T, p plugin, v vm, flags ...string) row {
	t.Helper()
	var list struct{ Items []row }
	p.object(t, &list, append([]string{"list", "-n", v.namespace, "-l", "check=" + v.name}, flags...)...)
	require.Len(t, list.Items, 1)
	return list.Items[0]
}

// awaitVersion waits until QEMU's version is told, too, which libvirt says a while after the type.
func awaitVersion(t *testing.T, p plugin, v vm) (seen row) {
	t.Helper()
	eventually(t, patience, "QEMU's version", func(context.Context) error {
		if seen = told(t, p, v); seen.HypervisorVersion == "" {
			return errors.New("none yet")
		}
		return nil
	})
	return seen
}

// requireTold fails unless the plugin says of a running VM what it runs on, and why.
func (w *world) requireTold(t *testing.T, v vm, hypervisor string) {
	t.Helper()
	domain, verdict := "kvm", "hardware"
	if hypervisor == "qemu-tcg" {
		domain, verdict = "qemu", "emulation_allowed"
	}
	pod, reader := w.pod(t, v), w.reader(t, "ctl-"+v.name, v.namespace)
	seen := awaitVersion(t, reader, v)
	require.Equal(t, row{
		Namespace: v.namespace, Name: v.name, Phase: "Running", Node: pod.Spec.NodeName, Pod: pod.Name,
		Type: hypervisor, Source: "relay", DomainType: domain, Architecture: "x86_64", Machine: seen.Machine,
		HypervisorVersion: seen.HypervisorVersion, LibvirtVersion: seen.LibvirtVersion,
		Sidecar: "running", SidecarVersion: pod.Annotations["hypervisor-exporter.kubevirt.io/status"],
	}, seen)
	require.Regexp(t, `^pc-q35-`, seen.Machine)
	require.Regexp(t, `^\d+\.\d+\.\d+$`, seen.HypervisorVersion)
	require.Regexp(t, `^\d+\.\d+\.\d+$`, seen.LibvirtVersion)

	var why struct{ Type, Expected, Verdict, Source string }
	reader.object(t, &why, "explain", v.name, "-n", v.namespace)
	require.Equal(t, hypervisor, why.Type)
	require.Equal(t, hypervisor, why.Expected)
	require.Equal(t, verdict, why.Verdict)
	text := reader.call(t, "explain", v.name, "-n", v.namespace)
	require.Contains(t, text.out, v.namespace+"/"+v.name+": "+hypervisor+" (seen by its sidecar)")
}

// requireMissed fails unless the plugin says that the webhook is gone, and that this VM has missed it.
func (w *world) requireMissed(t *testing.T, v vm) {
	t.Helper()
	reader := w.reader(t, "ctl-"+v.name, v.namespace)
	got := reader.call(t, "check", "-n", v.namespace)
	require.Equal(t, 2, got.code)
	for _, want := range []string{
		"Deployment hypervisor-exporter-webhook is scaled to 0",
		"Service hypervisor-exporter-webhook has no ready address",
		"a virt-launcher pod in the namespace " + v.namespace + " does not get the sidecar (dry run)",
		v.namespace + "/" + v.name,
	} {
		require.Contains(t, got.out, want)
	}
	require.Regexp(t, `warn  \d+ VMs? ha(s|ve) no metric: missed: `, got.out)
	require.Equal(t, "missed", told(t, reader, v).Reason)
}
