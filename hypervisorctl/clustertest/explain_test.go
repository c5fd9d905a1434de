package clustertest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	define(t)
	rights(t)
	kubeVirt(t, true)
	createNode(t, "node-1", "amd64", "1k", "", 0)
	namespace := shop(t)
	address := prometheus(t, namespace)
	for _, name := range []string{"web", "emulated", "failed", "starting", "missed", "missed-bare"} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"explain", name, "-n", namespace, "--prometheus-url=" + address}, reader()...)
			got := call(t, administrator(t), args...)
			require.Zero(t, got.code, got.err)
			golden(t, "explain-"+name+".txt", same(got.out, namespace))
		})
	}
	t.Run("as YAML", func(t *testing.T) {
		got := call(t, administrator(t), "explain", "emulated", "-n", namespace, "--prometheus-url="+address, "-o", "yaml")
		require.Zero(t, got.code, got.err)
		golden(t, "explain-yaml.txt", same(got.out, namespace))
	})
	for output, want := range map[string]string{
		"name": "virtualmachineinstance.kubevirt.io/emulated\n", "jsonpath={.verdict}": "emulation_allowed", "go-template={{.type}}": "qemu-tcg",
	} {
		t.Run("as "+output, func(t *testing.T) {
			got := call(t, administrator(t), "explain", "vmi/emulated", "-n", namespace, "--prometheus-url="+address, "-o", output)
			require.Equal(t, answer{out: want}, got)
		})
	}
	t.Run("the owner of a namespace", func(t *testing.T) {
		require.NoError(t, grant(t, namespace, "owner", []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "get", "list"))
		got := callAs(t, as("owner", "system:authenticated"), "explain", "web", "-n", namespace, "--source=exec")
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, "kvm expected, but not measured")
		require.Contains(t, got.out, "kubectl auth can-i get nodes/node-1")
		require.Contains(t, got.out, "kubectl auth can-i create pods/exec -n "+namespace)
	})
	t.Run("no such VM", func(t *testing.T) {
		got := call(t, administrator(t), "explain", "stranger", "-n", namespace)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.err, `there is no VMI "stranger" in the namespace `+namespace)
	})
}
