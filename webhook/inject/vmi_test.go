package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestVM(t *testing.T) {
	_, _, first := readInput(t, "testdata/masq")
	require.Equal(t, inject.VM{Name: "masq", UID: "de0d9c32-29da-4e4a-97da-26f918ca12d6"}, first.VM())
	_, _, target := readInput(t, "testdata/migration-target")
	require.NotEmpty(t, target.VM().Migration)
	require.Equal(t, target.Labels["kubevirt.io/migrationJobUID"], target.VM().Migration)
	require.Equal(t, inject.VM{}, (&inject.Pod{}).VM())
}
