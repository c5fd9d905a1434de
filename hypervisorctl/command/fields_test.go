package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

func TestSortRows(t *testing.T) {
	at := func(second int64) metav1.Time { return metav1.Time{Time: time.Unix(second, 0)} }
	for path, want := range map[string][]string{
		".name":              {"a", "b", "c"},
		"{.type}":            {"a", "c", "b"}, // b has none
		"created":            {"b", "a", "c"},
		".sidecarRestarts":   {"b", "c", "a"}, // as numbers: 9 before 10; a has none
		".hypervisorVersion": {"c", "b", "a"}, // none has one: the order stays
	} {
		rows := []Row{
			{Name: "c", Created: at(300), Finding: source.Finding{Type: "qemu-tcg"}, Sidecar: vm.Sidecar{Restarts: 10}},
			{Name: "b", Created: at(100), Sidecar: vm.Sidecar{Restarts: 9}},
			{Name: "a", Created: at(200), Finding: source.Finding{Type: "kvm"}},
		}
		require.NoError(t, sortRows(rows, path))
		var names []string
		for _, row := range rows {
			names = append(names, row.Name)
		}
		require.Equal(t, want, names, path)
	}
}

func TestVMIName(t *testing.T) {
	for _, argument := range []string{
		"web", "vmi/web", "VMI/web", "vmis/web", "virtualmachineinstance.kubevirt.io/web", "virtualmachineinstances/web", "vm/web", "virtualmachine.kubevirt.io/web",
	} {
		name, err := vmiName(argument)
		require.NoError(t, err)
		require.Equal(t, "web", name, argument)
	}
}
