package checks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// row is a VM in the plugin's output.
type row struct {
	Namespace, Name, Phase, Node, Pod                          string
	Type, Source, DomainType, Architecture, Machine            string
	HypervisorVersion, LibvirtVersion, Sidecar, SidecarVersion string
	Reason, State, StateReason, NodeVirtualization             string
	Problems                                                   []string
}

// The plugin lists through the relay what each VM runs on, finds no fault where all is well, and reports what is missing
// and which right. TestStart, TestWebhookGone, TestRefused and TestAdmissionPolicy use it, too.
func TestHypervisorctl(t *testing.T) {
	t.Parallel()
	f := connect(t)
	const namespace = "ctl"
	f.namespace(namespace)
	web := vm{namespace: namespace, name: "ctl-web"}
	out := vm{namespace: namespace, name: "ctl-opted-out", annotations: map[string]string{inject: "false"}}
	f.start(out, web)
	f.awaitTarget(web, "up")
	reader := f.reader("ctl-reader", namespace)
	f.awaitVersion(reader, web)

	t.Run("list", func(t *testing.T) {
		table := reader.call(t, "list", "-n", namespace)
		require.Zero(t, table.code)
		require.Empty(t, table.err)
		require.Regexp(t, `(?m)^ctl-opted-out +- +- +\S+ +absent +opted_out +\S+\nctl-web +kvm +kvm +\S+ +running +- +\S+$`, table.out)
		wide := reader.call(t, "list", "-A", "-l", "check=ctl-web", "-o", "wide")
		require.Equal(t, 2, strings.Count(wide.out, "\n"), "a header and one VM")
		require.Regexp(t, `^NAMESPACE +NAME .* QEMU +LIBVIRT +VERSION +SOURCE +POD\nctl +ctl-web .* \d+\.\d+\.\d+ +\d+\.\d+\.\d+ +v\S+ +relay +`+f.pod(web).Name+`\n$`, wide.out)
		require.Contains(t, reader.call(t, "list", "-n", namespace, "-l", "check=ctl-web", "-o", "yaml").out, "\n  type: kvm\n")
	})
	t.Run("what stops a VM", func(t *testing.T) {
		f.subresource(web, "pause") // KubeVirt resumes a domain that it has not paused itself
		f.eventually("the paused VM", func() error {
			if seen := listed(t, reader, web); !slices.Contains(seen.Problems, "paused_by_user") {
				return fmt.Errorf("%s (%s), %v", seen.State, seen.StateReason, seen.Problems)
			}
			return nil
		})
		require.NotEmpty(t, listed(t, reader, web).NodeVirtualization)
		require.Contains(t, reader.call(t, "list", "-n", namespace, "--problems", "--no-headers").out, "paused_by_user")
		got := reader.call(t, "explain", web.name, "-n", namespace)
		require.Contains(t, got.out, web.key()+": stands still; on kvm")
		require.Contains(t, got.out, "virtctl unpause vmi "+web.name+" -n "+namespace)
		f.subresource(web, "unpause") // as virtctl does
		f.eventually("the VM that goes on", func() error {
			if seen := listed(t, reader, web); slices.Contains(seen.Problems, "paused_by_user") {
				return errors.New("it is still paused")
			}
			return nil
		})
	})
	t.Run("check", func(t *testing.T) {
		defer f.lockIntact()()
		for source, flags := range map[string][]string{"relay": nil, "prometheus": f.prometheusFlags()} {
			var got printed
			f.eventually("that all is well", func() error { // some rules are evaluated every 5 minutes
				if got = reader.call(t, append([]string{"check", "-n", namespace}, flags...)...); got.code != 0 {
					return errors.New(got.out)
				}
				return nil
			})
			require.Contains(t, got.out, "1 VM has no metric: opted_out")
			require.Regexp(t, `1 of 2 VMs are measured \(.*`+source+`\)`, got.out)
		}
	})
	t.Run("list from Prometheus", func(t *testing.T) {
		require.Equal(t, "prometheus", listed(t, reader, web, f.prometheusFlags()...).Source)
	})
	// The owner of a namespace needs no right of ours to see the types there, through the sidecar.
	t.Run("the owner of a namespace", func(t *testing.T) {
		owner := f.pluginOf("ctl-owner")
		f.bind(binding("RoleBinding", namespace, "ClusterRole", "edit", owner.account))
		f.awaitRight(owner.account, "create", "", "pods/exec", namespace)
		seen := listed(t, owner, web, "--source=exec")
		require.Equal(t, "exec", seen.Source)
		require.Equal(t, "kvm", seen.Type)
		got := owner.call(t, "list", "-n", namespace)
		require.Zero(t, got.code)
		require.Regexp(t, `note: no types: .*you may not get mutatingwebhookconfigurations`, got.err)
		got = owner.call(t, "list", "-n", namespace, "--relay-namespace="+cluster.Relay)
		require.Regexp(t, `note: no types: .*you may not create pods/portforward`, got.err)
	})
	t.Run("an account without rights", func(t *testing.T) {
		none := f.pluginOf("ctl-none")
		for _, args := range [][]string{{"list"}, {"explain", web.name}} {
			got := none.call(t, append(args, "-n", namespace)...)
			require.Equal(t, 1, got.code)
			require.Empty(t, got.out)
			require.Regexp(t, `(?m)^error: you may not (list|get) virtualmachineinstances.*\(try: kubectl auth can-i `, got.err)
		}
		got := none.call(t, "check", "-n", namespace)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "you may not")
		require.NotContains(t, got.out, "fail  ", "what could not be checked has not failed")
	})
	t.Run("a namespace that is not labelled", func(t *testing.T) {
		defer f.lockIntact()()
		got := reader.call(t, "check", "-n", plain)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "warn  the namespace plain is not labelled for sidecars")
		got = reader.call(t, "check", "-n", "plian")
		require.Equal(t, 2, got.code)
		require.Contains(t, got.out, "fail  there is no namespace plian")
	})
}

// prometheusFlags are the flags for the cluster's Prometheus, which has no address outside: through the API server, as its
// administrator.
func (f *framework) prometheusFlags() []string {
	token := filepath.Join(f.t.TempDir(), "token")
	f.must(os.WriteFile(token, []byte(f.Config.BearerToken), 0o600))
	return []string{
		"--prometheus-url=" + f.Config.Host + "/api/v1/namespaces/" + cluster.Monitoring + "/pods/prometheus-e2e-0:9090/proxy",
		"--prometheus-token-file=" + token, "--prometheus-ca-file=" + f.Config.CAFile,
	}
}

// listed is the plugin's row of the VM, the one of that name.
func listed(t *testing.T, p plugin, v vm, flags ...string) row {
	var list struct{ Items []row }
	p.object(t, &list, append([]string{"list", "-n", v.namespace, "-l", "check=" + v.name}, flags...)...)
	require.Len(t, list.Items, 1)
	return list.Items[0]
}

// awaitVersion waits until QEMU's version is listed, too, which libvirt reports a while after the type.
func (f *framework) awaitVersion(p plugin, v vm) (seen row) {
	f.eventually("QEMU's version", func() error {
		if seen = listed(f.t, p, v); seen.HypervisorVersion == "" {
			return errors.New("none yet")
		}
		return nil
	})
	return seen
}

// requireListed fails unless the plugin shows what a running VM runs on, and why.
func (f *framework) requireListed(v vm, hypervisor string) {
	domain, verdict := "kvm", "hardware"
	if hypervisor == "qemu-tcg" {
		domain, verdict = "qemu", "emulation_allowed"
	}
	pod, reader := f.pod(v), f.reader("ctl-"+v.name, v.namespace)
	seen := f.awaitVersion(reader, v)
	state := "running"
	if f.sidecarOf(v).Image != f.productImage() { // the release before does not report it (TestSkew)
		state = ""
	}
	require.Equal(f.t, row{
		Namespace: v.namespace, Name: v.name, Phase: "Running", Node: pod.Spec.NodeName, Pod: pod.Name,
		Type: hypervisor, Source: "relay", DomainType: domain, Architecture: "x86_64", Machine: seen.Machine,
		HypervisorVersion: seen.HypervisorVersion, LibvirtVersion: seen.LibvirtVersion,
		Sidecar: "running", SidecarVersion: pod.Annotations["hypervisor-exporter.kubevirt.io/status"],
		State: state, StateReason: seen.StateReason, Problems: seen.Problems, NodeVirtualization: seen.NodeVirtualization,
	}, seen)
	require.Regexp(f.t, `^pc-q35-`, seen.Machine)
	require.Regexp(f.t, `^\d+\.\d+\.\d+$`, seen.HypervisorVersion)
	require.Regexp(f.t, `^\d+\.\d+\.\d+$`, seen.LibvirtVersion)

	var why struct{ Type, Expected, Verdict string }
	reader.object(f.t, &why, "explain", v.name, "-n", v.namespace)
	require.Equal(f.t, []string{hypervisor, hypervisor, verdict}, []string{why.Type, why.Expected, why.Verdict})
	require.Regexp(f.t, "^"+v.key()+": .*; on "+hypervisor+` \(reported by its sidecar\)\n`, reader.call(f.t, "explain", v.name, "-n", v.namespace).out)
	require.Equal(f.t, hypervisor == "qemu-tcg", slices.Contains(seen.Problems, "emulated_by_setting"))
}

// requireMissed fails unless the plugin reports that the webhook is gone, and that this VM has missed it.
func (f *framework) requireMissed(v vm) {
	reader := f.reader("ctl-"+v.name, v.namespace)
	got := reader.call(f.t, "check", "-n", v.namespace)
	require.Equal(f.t, 2, got.code)
	for _, want := range []string{
		"Deployment hypervisor-exporter-webhook is scaled to 0",
		"Service hypervisor-exporter-webhook has no ready address",
		"the injection was not tried: the webhook has no ready address",
		v.key(),
	} {
		require.Contains(f.t, got.out, want)
	}
	require.Regexp(f.t, `warn  \d+ VMs? ha(s|ve) no metric: missed: `, got.out)
	require.Equal(f.t, "missed", listed(f.t, reader, v).Reason)
}
