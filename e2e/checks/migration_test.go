package checks

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

var migrationKind = schema.GroupVersionKind{Group: "kubevirt.io", Version: "v1", Kind: "VirtualMachineInstanceMigration"}

// A live migration between two nodes goes on with a sidecar on either side as without one: a VM that had none has it
// after its first migration, as the README says; after the second the series has followed it, and at no time did two
// pods' series count for the one VM. A sidecar that is frozen on the source delays nothing.
func TestMigration(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: "migration", name: "migration", migratable: true}
	f.must(f.Namespace(f.ctx, v.namespace, nil))
	f.start(v)
	require.False(t, hasSidecar(f.pod(v)), "it started before its namespace was labelled")
	second := f.secondNode(node.DefaultKubeletRoot)

	f.namespace(v.namespace)
	began := time.Now()
	f.migrate(v, "there", second.Name)
	f.migrate(v, "back", f.node.Name) // from a sidecar to another
	most := f.query(`max_over_time(count(%s)[%ds:1s])`, fmt.Sprintf("vmi:kubevirt_vmi_hypervisor_info:newest{namespace=%q,name=%q}", v.namespace, v.name),
		int(time.Since(began).Seconds()))
	require.Len(t, most, 1, "the recording rule has the VM")
	require.Equal(t, "1", most[0].Value[1], "the most series at a time")

	pids := f.processes(f.onlyLauncher(v), sidecar)
	f.kill("STOP", pids[len(pids)-1])
	f.migrate(v, "frozen", second.Name)
	f.remove(v) // before its node goes
}

// migrate moves the VM to the other node, and fails unless it then runs there with a sidecar, and its one series, of the
// relay there, names that node.
func (f *framework) migrate(v vm, name, node string) {
	began := time.Now()
	f.apply("{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: %s, namespace: %s}, spec: {vmiName: %s}}",
		name, v.namespace, v.name)
	f.eventually("migration "+name, func() error {
		migration, err := f.Get(f.ctx, migrationKind, v.namespace, name)
		if err != nil {
			return err
		}
		phase, _, _ := unstructured.NestedString(migration.Object, "status", "phase")
		require.NotEqual(f.t, "Failed", phase, "%v", migration.Object["status"])
		if phase != "Succeeded" {
			return fmt.Errorf("phase %q", phase)
		}
		return nil
	})
	succeeded := time.Since(began)
	f.until("the source's pod to end", func() bool { return len(f.launchers(v)) == 1 }, nil)
	f.t.Logf("migration %q: succeeded after %.1f s, the source's pod had ended after %.1f s", name, succeeded.Seconds(), time.Since(began).Seconds())

	moved := time.Now()
	f.must(f.isIn(v, "Running"))
	pod := f.onlyLauncher(v)
	require.Equal(f.t, node, pod.Spec.NodeName)
	require.True(f.t, hasSidecar(pod))
	var found []cluster.Series
	f.until("the series to name "+node, func() bool {
		found = f.infos(v)
		return len(found) == 1 && found[0].Metric["node"] == node && found[0].Metric["pod"] == pod.Name
	}, func() any { return found })
	f.t.Logf("series from %s %.1f s after the migration", node, time.Since(moved).Seconds())
	require.Equal(f.t, page(pod), f.awaitTarget(v, "up").ScrapeURL, "by the relay of its node")
}

func (f *framework) onlyLauncher(v vm) *corev1.Pod {
	pods := f.launchers(v)
	require.Len(f.t, pods, 1)
	return &pods[0]
}
