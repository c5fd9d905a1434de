package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// VMs that need another command are not in one line: a hint is true of every VM that it is about.
func TestHintsFitTheVMs(t *testing.T) {
	owner := vm.Owner{Kind: "VirtualMachine"}
	missed := func(name string, owner vm.Owner, can vm.Migratable) survey.VM {
		return survey.VM{VMI: vm.VMI{Namespace: "shop", Name: name, Phase: vm.Running, Owner: owner, Migratable: can}, Cause: vm.Cause{Why: vm.Missed}}
	}
	lines := newPopulation([]survey.VM{
		missed("b", owner, vm.MigratableYes), missed("a", owner, vm.MigratableYes), missed("fixed", owner, vm.MigratableNo), missed("bare", vm.Owner{}, vm.MigratableNo),
	}).lines(nil, "", false)
	got := map[string][]string{}
	for _, line := range lines {
		got[line.Hint] = line.Objects
	}
	require.Equal(t, map[string][]string{
		"for a new pod, with the sidecar: virtctl migrate NAME -n NAMESPACE":                                                                   {"shop/a", "shop/b"},
		"for a new pod, with the sidecar: virtctl restart fixed -n shop":                                                                       {"shop/fixed"},
		"for a new pod, with the sidecar: delete the VMI bare in shop and create it again (no VirtualMachine owns it, so nothing restarts it)": {"shop/bare"},
	}, got)
}
